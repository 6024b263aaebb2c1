package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// lockWorld returns a cluster of three voters, the first of which holds a lock.
func lockWorld(t *testing.T) (*Cluster, *lockCall) {
	t.Helper()
	c, err := New(Config{Seed: 1, Locks: Locks{Voters: 3}})
	if err != nil {
		t.Fatal(err)
	}
	k, err := c.Peer(1).acquire(lockservice.Call{Lock: "l", TTL: 3 * time.Second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Run(time.Second); k.state != callHolds {
		t.Fatal("it is not granted")
	}
	return c, k
}

// A run may end while a peer stops in order. The peer counts as stopped, and is started as
// the others are.
func TestARunSettlesAlthoughAPeerIsStopping(t *testing.T) {
	c, _ := lockWorld(t)
	c.Peer(2).stop()
	c.Settle()
	if list := c.Violations(); len(list) > 0 || !c.Peer(2).Up() {
		t.Errorf("the peer is up: %v; %v", c.Peer(2).Up(), list)
	}
}

// Each oracle of locks reports the fault that it is there for.
func TestTheOraclesOfLocksComplain(t *testing.T) {
	f := func(oracle string, spoil func(c *Cluster, k *lockCall)) {
		t.Helper()
		c, k := lockWorld(t)
		spoil(c, k)
		c.Settle()
		for _, v := range c.Violations() {
			if strings.HasPrefix(v, oracle) {
				return
			}
		}
		t.Errorf("%s did not complain: %v", oracle, c.Violations())
	}
	other := func(c *Cluster, token uint64, ends time.Duration) (*lockCall, lockservice.Result) {
		k := &lockCall{Call: lockservice.Call{Lock: "l"}, p: c.Peer(2), id: 99}
		return k, lockservice.Result{ID: 99, Event: lockservice.Acquired, Token: token, Deadline: c.Peer(2).boot(c.now + ends)}
	}
	f("L1", func(c *Cluster, k *lockCall) {
		k, r := other(c, k.token+1, time.Second)
		c.locks.checkResult(k, r)
		c.locks.ended(k)
	})
	f("L2", func(c *Cluster, k *lockCall) {
		k.release()
		k, r := other(c, k.token, time.Second)
		c.locks.checkResult(k, r)
		c.locks.ended(k)
	})
	f("L3", func(c *Cluster, k *lockCall) { c.locks.answered(k, "release", true, nil) })
	f("L4", func(c *Cluster, k *lockCall) {
		k.release()
		c.locks.checkResult(k, lockservice.Result{Event: lockservice.Acquired, Token: k.token, Deadline: c.Peer(1).boot(c.now + time.Second)})
	})
	f("L5", func(c *Cluster, _ *lockCall) { // a client holds the lock for ever
		if _, err := c.Peer(2).locks.node.Acquire(c.Peer(2).lockTime(), lockservice.Call{Lock: "l", TTL: 3 * time.Second}); err != nil {
			t.Fatal(err)
		}
		c.Peer(2).locks.carry()
	})
	f("L6", func(c *Cluster, k *lockCall) {
		k.release()
		c.locks.asked(&lockCall{Call: lockservice.Call{Lock: "l"}, p: c.Peer(3), id: 98, asked: c.now, state: callOver})
		k, r := other(c, k.token+1, time.Second)
		k.asked = c.now + time.Second
		c.locks.checkResult(k, r)
		c.locks.ended(k)
	})
	f("L7", func(c *Cluster, _ *lockCall) {
		j := &c.locks
		j.lists = append(j.lists, lockservice.Voters{Epoch: 2, Names: []string{"n1"}}) // differs by two names
		j.refused(lockservice.Voters{Epoch: 2, Names: []string{"n1", "n2"}})
	})
	f("L8", func(c *Cluster, k *lockCall) { // the lease goes on after another client held the lock
		k.until = c.now
		o, r := other(c, k.token+1, time.Second)
		c.locks.checkResult(o, r)
		c.locks.ended(o)
		c.locks.checkResult(k, lockservice.Result{Event: lockservice.Extended, Token: k.token, Deadline: c.Peer(1).boot(c.now + time.Second)})
	})
	f("L8", func(c *Cluster, k *lockCall) { // the lease goes on with another token
		o, r := other(c, k.token+1, time.Second)
		o.resumed, o.inst, o.token, r.Inst = true, k.inst, k.token, k.inst
		c.locks.checkResult(o, r)
		c.locks.ended(o)
	})
}

// A step of locks that is not allowed is an error of the script, not of the run.
func TestWrongStepsOfLocksAreRefused(t *testing.T) {
	for step, want := range map[string]string{
		"1 lock":             "the name of a lock",
		"1 lock l ttl=1ms":   "500ms to 3s",
		"1 lock l for=1s":    "ttl=, wait=",
		"1 unlock l soon":    "stale or nothing",
		"1 move l now":       "nothing is wanted",
		"voters 1-9":         "a peer from 1 to 3",
		"freeze 4":           "a peer from 1 to 3",
		"1 trylock l hold=x": "a duration",
	} {
		c, _ := lockWorld(t)
		if err := c.Do(step); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v does not say %q", step, err, want)
		}
	}
	if _, err := New(Config{Peers: 2, Locks: Locks{Voters: 3}}); err == nil {
		t.Error("there are more voters than peers")
	}
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"1 lock l", "voters 1", "freeze 1"} {
		if c.Do(step) == nil {
			t.Errorf("%s without voters", step)
		}
	}
}
