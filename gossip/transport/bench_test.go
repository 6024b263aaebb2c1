package transport

import (
	"testing"
	"time"
)

// One frame there, on loopback: from the call of Send to the call of Inbox.
func BenchmarkOneWay(b *testing.B) {
	for _, sealed := range []string{"plain", "sealed"} {
		for _, via := range []Path{Packet, Stream} {
			b.Run(via.String()+"/"+sealed, func(b *testing.B) {
				all := cluster(b, 2, func(c *Config) {
					if sealed == "sealed" {
						withKey(c)
					}
				})
				send := func() error { return all[0].SendPacket("p1", make([]byte, 200)) }
				if via == Stream {
					send = func() error { return all[0].SendStream("p1", make([]byte, 200), false) }
				}
				if err := send(); err != nil { // opens the stream
					b.Fatal(err)
				}
				<-all[1].inbox
				b.ReportAllocs()
				for b.Loop() {
					if err := send(); err != nil {
						b.Fatal(err)
					}
					select {
					case <-all[1].inbox:
					case <-time.After(time.Second): // a lost datagram
					}
				}
			})
		}
	}
}

// Many small frames over one stream, as fast as the receiver takes them.
func BenchmarkStreamFlow(b *testing.B) {
	for _, sealed := range []string{"plain", "sealed"} {
		for _, size := range []int{200, 1 << 20} {
			name := "200B/"
			if size > 200 {
				name = "1MiB/"
			}
			b.Run(name+sealed, func(b *testing.B) {
				all := cluster(b, 2, func(c *Config) {
					if sealed == "sealed" {
						withKey(c)
					}
				})
				b.SetBytes(int64(size))
				slots := make(chan struct{}, 4<<20/size+1)
				go func() {
					for range all[1].inbox {
						<-slots
					}
				}()
				for b.Loop() {
					slots <- struct{}{}
					if err := all[0].SendStream("p1", make([]byte, size), false); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
