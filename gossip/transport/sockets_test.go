package transport

import (
	"bytes"
	"testing"
)

func TestThreePeersOnLoopbackFindEachOtherAndTalk(t *testing.T) {
	for name, change := range map[string]func(*Config){"plain": nil, "sealed": withKey} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			all := cluster(t, 3, change)
			a, b, c := all[0], all[1], all[2]
			for _, to := range []*peer{b, c} {
				small, frame := []byte("packet to "+to.cfg.ID), []byte("stream to "+to.cfg.ID)
				if err := a.SendPacket(to.cfg.ID, small); err != nil {
					t.Fatal(err)
				}
				to.next(small, Packet)
				if err := a.SendStream(to.cfg.ID, bytes.Clone(frame), false); err != nil {
					t.Fatal(err)
				}
				to.next(frame, Stream)
			}
			big := bytes.Repeat([]byte("6 MiB..."), 6<<20/8)
			if err := b.SendStream("p2", bytes.Clone(big), false); err != nil {
				t.Fatal(err)
			}
			c.next(big, Stream)
		})
	}
}
