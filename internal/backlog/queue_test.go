package backlog

import "testing"

func TestAQueueTellsInOrderOrThatItLagged(t *testing.T) {
	q := Queue[int]{Limit: 3, Bytes: 100}
	f := func(event int, ok, lagged bool) {
		t.Helper()
		if e, got, lag := q.Next(); e != event || got != ok || lag != lagged {
			t.Errorf("next is %d, %t, %t; want %d, %t, %t", e, got, lag, event, ok, lagged)
		}
	}
	f(0, false, false)
	q.Offer(1, 1)
	q.Offer(2, 1)
	f(1, true, false)
	q.Offer(3, 1)
	q.Offer(4, 1)
	f(2, true, false)
	f(3, true, false)
	f(4, true, false)
	for i := range 5 {
		q.Offer(i, 1)
	}
	if q.Missed() != 5 {
		t.Errorf("%d missed, want all 5", q.Missed())
	}
	f(0, false, true)
	f(0, false, false)
	q.Offer(6, 60)
	q.Offer(7, 60)
	f(0, false, true)
	q.Lag()
	f(0, false, true)
	q.Offer(8, 100)
	f(8, true, false)
	q.Offer(9, 40)
	q.Offer(10, 2)
	q.Next()
	if events, bytes := q.Waiting(); events != 1 || bytes != 2 {
		t.Errorf("%d events of %d bytes wait, want 1 of 2", events, bytes)
	}
}
