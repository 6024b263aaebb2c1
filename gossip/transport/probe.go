package transport

import (
	"context"
	"errors"
	"net"
	"time"
)

// Probe asks at addr, a host:port, whether a peer of cluster that has the first of keys would accept
// a peer like this one, without becoming a member. Nil says that it would. Otherwise the
// error says whether the cluster, the key or the version differs, or no peer answers. Probe
// waits until ctx ends, and for ten seconds at most.
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
	_, err = me.initiate(conn, forFrames, anybody) // a peer that would accept refuses only the target
	refused, ok := errors.AsType[*refusal](err)
	switch {
	case ok && refused.why == refuseTarget:
		return nil
	case ok && strangers[refused.why] != "":
		return errors.New(strangers[refused.why])
	}
	return err
}
