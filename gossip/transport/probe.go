package transport

import (
	"context"
	"errors"
	"net"
	"time"
)

// Probe asks at addr, which is host:port, whether a peer of cluster that has the first
// of keys would take us, without becoming a member. Nil says that it would; another
// cluster, key or version, or a stranger, is named in the error. Without a deadline of
// ctx it waits for ten seconds.
func Probe(ctx context.Context, addr, cluster string, keys [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	me, err := newIdentity(cluster, "probe", keys)
	if err != nil {
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	_, err = me.initiate(conn, forFrames, anybody) // who has no other objection says so
	refused, ok := errors.AsType[*refusal](err)
	switch {
	case ok && refused.why == refuseTarget:
		return nil
	case ok && strangers[refused.why] != "":
		return errors.New(strangers[refused.why])
	}
	return err
}
