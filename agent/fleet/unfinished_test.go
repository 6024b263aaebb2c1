package fleet

import (
	"fmt"
	"testing"
	"time"
)

func TestWorkIsNotedWhileUnfinishedWorkIsRead(t *testing.T) {
	var u unfinished
	u.reading.Lock() // as a reader does that walks a large store
	defer u.reading.Unlock()
	noted := make(chan struct{})
	go func() {
		u.note(taskState.key("t"))
		close(noted)
	}()
	select {
	case <-noted:
	case <-time.After(10 * time.Second):
		t.Fatal("the loop waits for a reader of unfinished work")
	}
	if changed, missed := u.take(); len(changed) != 1 || missed {
		t.Errorf("noted %v, missed %v; want the one task", changed, missed)
	}
}

// The keys that change while nothing reads them are bounded.
func TestChangesThatNobodyReadsAreBounded(t *testing.T) {
	var u unfinished
	for i := range maxNoted + 100 {
		u.note(taskState.key(fmt.Sprint(i)))
	}
	if changed, missed := u.take(); len(changed) != maxNoted || !missed {
		t.Errorf("%d keys are noted, missed %v", len(changed), missed)
	}
}
