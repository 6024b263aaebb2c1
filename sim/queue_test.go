package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/queue"
)

// queued returns a cluster some time after these steps.
func queued(t *testing.T, steps ...string) *Cluster {
	t.Helper()
	c, err := New(Config{Seed: 1, Locks: Locks{Voters: 3}})
	if err != nil {
		t.Fatal(err)
	}
	c.Run(time.Second)
	for _, step := range steps {
		if err := c.Do(step); err != nil {
			t.Fatal(err)
		}
	}
	c.Run(time.Second)
	if len(c.Violations()) > 0 {
		t.Fatalf("unspoilt: %v", c.Violations())
	}
	return c
}

// Each oracle of work queues reports the fault that it is there for.
func TestTheOraclesOfQueuesComplain(t *testing.T) {
	enqueue := "1 enqueue q 1 id=a"
	f := func(oracle string, c *Cluster, spoil func(j *judge, q *workQueue, f *itemHistory)) {
		t.Helper()
		q := c.Peer(1).work.queue("q")
		spoil(&c.judge, q, c.judge.item(q, "a"))
		if v := strings.Join(c.Violations(), "\n"); !strings.HasPrefix(v, oracle) {
			t.Errorf("%s did not complain: %s", oracle, v)
		}
	}
	f("W1", queued(t, enqueue, "2 work q 1"), func(j *judge, q *workQueue, _ *itemHistory) {
		j.begins(&worker{q: q, claim: &queue.Claim{ID: "a", Token: 1 << 50}})
	})
	f("W1", queued(t, enqueue, "2 work q 1 takes=10s"), func(j *judge, q *workQueue, _ *itemHistory) {
		j.begins(&worker{q: q, claim: &queue.Claim{ID: "a", Token: 1 << 50}})
	})
	f("W2", queued(t, enqueue, "2 work q 1"), func(j *judge, _ *workQueue, f *itemHistory) {
		f.token++
		j.work()
	})
	f("W3", queued(t, enqueue, "2 work q 1 takes=2s"), func(j *judge, _ *workQueue, f *itemHistory) {
		f.claims = append(f.claims, holder{&worker{}, &queue.Claim{Token: 1 << 50}})
		j.c.Run(2 * time.Second)
	})
	f("W4", queued(t, enqueue), func(j *judge, _ *workQueue, _ *itemHistory) {
		for _, p := range j.c.peers {
			p.work.queue("q").core.Set(queue.Setting{Paused: true})
		}
		j.work()
	})
	f("W5", queued(t, enqueue, "run 10ms", "1 enqueue q 1 id=b"), func(j *judge, q *workQueue, _ *itemHistory) {
		j.takes(&worker{q: q, claim: &queue.Claim{ID: "b"}})
	})
	f("W6", queued(t, enqueue), func(j *judge, q *workQueue, _ *itemHistory) { j.enqueued(q, "a", q.knows("a")) })
}

// A worker finishes at another peer although the peer at which it claimed has stopped.
func TestAWorkerGoesOnAtAnotherPeer(t *testing.T) {
	c := queued(t, "1 enqueue q 1 id=a", "2 work q 1 ttl=3s takes=1s to=3", "run 500ms", "stop 2", "run 1s")
	if v, _ := c.Peer(3).work.queue("q").core.Look(c.Peer(3).wall(), "a"); v.State != queue.Done || v.Worker != "n3" {
		t.Errorf("the item is %q by %q", v.State, v.Worker)
	}
	c.Settle()
	if list := c.Violations(); len(list) > 0 {
		t.Error(list)
	}
}

func TestAWrongStepOfAQueueIsRefused(t *testing.T) {
	for step, want := range map[string]string{
		"1 enqueue a/b 1":           "no queue's name",
		"1 enqueue q":               "a value is wanted",
		"1 enqueue q 1 delay=25h":   "want 0 to 24h",
		"1 enqueue q 1 color=red":   "priority=, delay=",
		"1 work q":                  "a number of items",
		"1 work q 1 ttl=1ms":        "a ttl from 500ms",
		"1 work q 1 then=celebrate": "one of complete",
		"1 work q 1 takes=x":        "a duration",
		"1 work q 1 to=9":           "a peer from 1 to",
	} {
		c, err := New(Config{Locks: Locks{Voters: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Do(step); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v does not say %q", step, err, want)
		}
	}
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do("1 enqueue q 1"); err == nil || !strings.Contains(err.Error(), "no voters") {
		t.Errorf("without voters: %v", err)
	}
}
