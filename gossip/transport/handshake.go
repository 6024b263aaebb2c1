package transport

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/flynn/noise"
)

// Every connection opens with one round trip:
//
//	initiator  hello [noise message 1]
//	responder  answer version [noise message 2]
//
//	hello      0xF5, version, purpose, 8 B cluster hash, 4 B key id (0: no key),
//	           1 B length + sender id, 1 B length + target id
//
// The purpose is 0 for a peer stream, which carries records in one direction, or 1 for an
// exchange of memberlist, which goes both ways. The target of an exchange is "?" if the
// dialler does not know the id of the other side.
//
// With a key the two noise messages are those of Noise_NNpsk0_25519_AESGCM_SHA256
// (Perrin, "The Noise Protocol Framework", rev. 34). The ephemeral keys give forward
// secrecy, and the handshake fails without the cluster's key. The
// prologue is the hello and the cluster's full name, so both sides agree on
// version, cluster, key id and both ids or the handshake fails.
const (
	streamVersion = 2

	clusterHashBytes = 8
	keyIDBytes       = 4
	noiseMsgBytes    = 32 + 16 // an ephemeral key and the tag of an empty payload
	helloFixed       = 3 + clusterHashBytes + keyIDBytes
)

// purpose is what a connection is for.
type purpose byte

const (
	forFrames  purpose = iota // a peer stream
	forMembers                // one exchange of memberlist
)

// anybody is the target of a hello whose sender does not know the id of the other side: in an
// exchange of memberlist with a seed, and from a peer that only asks whether it would be
// accepted.
const anybody = "?"

// Answers of the responder.
const (
	answerOK byte = iota
	answerVersion
	answerCluster
	answerKey
	answerTarget
	answerMalformed
)

var answers = map[byte]cause{
	answerVersion: refuseVersion, answerCluster: refuseCluster, answerKey: refuseKey,
	answerTarget: refuseTarget, answerMalformed: refuseMalformed,
}

// refusal is the error of a handshake that one side refused for a reason.
type refusal struct {
	why    cause
	local  bool // this peer refused the other, not the other way round
	probe  bool // the other side only asked whether it would be accepted
	detail string
}

func (r *refusal) Error() string {
	who := "the peer refused us"
	if r.local {
		who = "refused the peer"
	}
	return fmt.Sprintf("%s: %s: %s", who, r.why, r.detail)
}

type keyID [keyIDBytes]byte

// streamKey is one key of the ring, made ready for handshakes.
type streamKey struct {
	id      keyID  // short public name by which the responder finds the key
	psk     []byte // pre-shared key of the Noise handshake
	packets []byte // key from which the keys of datagrams are derived
}

// identity holds what a peer shows in a handshake.
type identity struct {
	cluster     string
	clusterHash [clusterHashBytes]byte
	id          string
	keys        atomic.Pointer[[]streamKey]
}

func newIdentity(cluster, id string, keys [][]byte) (*identity, error) {
	me := &identity{cluster: cluster, id: id}
	sum := sha256.Sum256([]byte("sentinel-peer cluster\x00" + cluster))
	copy(me.clusterHash[:], sum[:])
	ring, err := streamKeys(cluster, keys)
	me.keys.Store(&ring)
	return me, err
}

func streamKeys(cluster string, keys [][]byte) ([]streamKey, error) {
	ring := make([]streamKey, 0, len(keys))
	for _, k := range keys {
		psk, err := hkdf.Key(sha256.New, k, []byte(cluster), "sentinel-peer stream key v1", 32)
		if err != nil {
			return nil, err
		}
		name, err := hkdf.Key(sha256.New, k, []byte(cluster), "sentinel-peer stream key name v1", keyIDBytes)
		if err != nil {
			return nil, err
		}
		packets, err := hkdf.Key(sha256.New, k, []byte(cluster), "sentinel-peer packet key v1", 32)
		if err != nil {
			return nil, err
		}
		sk := streamKey{id: keyID(name), psk: psk, packets: packets}
		if sk.id == (keyID{}) {
			sk.id[0] = 1 // zero says "no key"
		}
		ring = append(ring, sk)
	}
	return ring, nil
}

func (me *identity) hello(use purpose, target string, key keyID) []byte {
	b := make([]byte, 0, helloFixed+2+len(me.id)+len(target)+noiseMsgBytes)
	b = append(b, bytePeer, streamVersion, byte(use))
	b = append(b, me.clusterHash[:]...)
	b = append(b, key[:]...)
	b = append(b, byte(len(me.id)))
	b = append(b, me.id...)
	b = append(b, byte(len(target)))
	return append(b, target...)
}

// session is the result of a handshake.
type session struct {
	peer       string // id of the other side
	use        purpose
	send, recv *noise.CipherState // nil without a key: the connection is in plain text
}

var suite = noise.NewCipherSuite(noise.DH25519, noise.CipherAESGCM, noise.HashSHA256)

func (me *identity) noise(psk, hello []byte, initiator bool) (*noise.HandshakeState, error) {
	return noise.NewHandshakeState(noise.Config{
		CipherSuite: suite, Pattern: noise.HandshakeNN, Initiator: initiator,
		Prologue: append(append([]byte(nil), hello...), me.cluster...), PresharedKey: psk,
	})
}

// initiate performs the handshake of the dialler over conn, with the member target.
func (me *identity) initiate(conn io.ReadWriter, use purpose, target string) (session, error) {
	var key streamKey
	if ring := *me.keys.Load(); len(ring) > 0 {
		key = ring[0]
	}
	hello := me.hello(use, target, key.id)
	var hs *noise.HandshakeState
	if key.psk != nil {
		var err error
		if hs, err = me.noise(key.psk, hello, true); err != nil {
			return session{}, err
		}
		if hello, _, _, err = hs.WriteMessage(hello, nil); err != nil {
			return session{}, err
		}
	}
	if _, err := conn.Write(hello); err != nil {
		return session{}, err
	}
	var answer [2]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return session{}, err
	}
	if answer[0] != answerOK {
		why, ok := answers[answer[0]]
		if !ok {
			why = refuseMalformed
		}
		return session{}, &refusal{why: why, detail: fmt.Sprintf("we speak version %d, it speaks %d", streamVersion, answer[1])}
	}
	if hs == nil {
		return session{peer: target, use: use}, nil
	}
	var msg [noiseMsgBytes]byte
	if _, err := io.ReadFull(conn, msg[:]); err != nil {
		return session{}, err
	}
	_, send, recv, err := hs.ReadMessage(nil, msg[:])
	if err != nil {
		return session{}, &refusal{why: refuseKey, local: true, detail: err.Error()}
	}
	return session{peer: target, use: use, send: send, recv: recv}, nil
}

// respond performs the handshake of the other side over conn, of which nothing has been read. It
// tells a refused peer the reason before it returns the error.
func (me *identity) respond(conn io.ReadWriter) (session, error) {
	s, reply, err := me.judge(conn)
	if r, ok := errors.AsType[*refusal](err); ok {
		for code, why := range answers {
			if why == r.why {
				conn.Write([]byte{code, streamVersion}) // the refusal stands if the peer is gone
			}
		}
	}
	if err != nil {
		return session{peer: s.peer}, err
	}
	_, err = conn.Write(append([]byte{answerOK, streamVersion}, reply...))
	return s, err
}

// judge reads a hello and decides on it. With a key it also makes the reply of the Noise handshake.
func (me *identity) judge(conn io.Reader) (s session, reply []byte, err error) {
	hello, from, psk, err := me.readHello(conn)
	if err != nil {
		return session{peer: from}, nil, err
	}
	s = session{peer: from, use: purpose(hello[2])}
	if psk == nil {
		return s, nil, nil
	}
	var msg [noiseMsgBytes]byte
	if _, err := io.ReadFull(conn, msg[:]); err != nil {
		return session{}, nil, err
	}
	hs, err := me.noise(psk, hello, false)
	if err != nil {
		return session{}, nil, err
	}
	if _, _, _, err = hs.ReadMessage(nil, msg[:]); err != nil {
		return session{}, nil, refuse(refuseKey, "%v", err)
	}
	if reply, s.recv, s.send, err = hs.WriteMessage(nil, nil); err != nil {
		return session{}, nil, err
	}
	return s, reply, nil
}

func refuse(why cause, format string, args ...any) error {
	return &refusal{why: why, local: true, detail: fmt.Sprintf(format, args...)}
}

// readHello reads a hello and checks that this peer may accept it. It returns the id of the sender
// and the key that both sides have; the key is nil if both have none.
func (me *identity) readHello(conn io.Reader) (hello []byte, from string, psk []byte, err error) {
	hello = make([]byte, helloFixed, helloFixed+2+2*MaxNameBytes)
	// The version is checked first: another version may lay out the rest differently.
	if _, err := io.ReadFull(conn, hello[:2]); err != nil {
		return nil, "", nil, err
	}
	if hello[0] != bytePeer {
		return nil, "", nil, refuse(refuseMalformed, "first byte is %#x", hello[0])
	}
	if hello[1] != streamVersion {
		return nil, "", nil, refuse(refuseVersion, "it speaks version %d, we speak %d", hello[1], streamVersion)
	}
	if _, err := io.ReadFull(conn, hello[2:]); err != nil {
		return nil, "", nil, err
	}
	use := purpose(hello[2])
	if use > forMembers {
		return nil, "", nil, refuse(refuseMalformed, "a connection for purpose %d; allowed are 0 and 1", use)
	}
	if [clusterHashBytes]byte(hello[3:]) != me.clusterHash {
		return nil, "", nil, refuse(refuseCluster, "our cluster is %q", me.cluster)
	}
	id := keyID(hello[3+clusterHashBytes:])
	var names [2]string // of the sender and the target
	for i := range names {
		if hello, names[i], err = readName(conn, hello); err != nil {
			return nil, "", nil, err
		}
	}
	if psk, err = me.find(id); err != nil {
		return nil, names[0], nil, err
	}
	// The target is checked last, so that a peer which does not know this id learns what else is wrong.
	if names[1] != me.id && !(use == forMembers && names[1] == anybody) {
		return nil, names[0], nil, &refusal{why: refuseTarget, local: true, probe: names[1] == anybody, detail: fmt.Sprintf("it wants %q, we are %q", names[1], me.id)}
	}
	return hello, names[0], psk, nil
}

// find returns the key with a name, nil if both sides have none.
func (me *identity) find(id keyID) ([]byte, error) {
	ring := *me.keys.Load()
	if len(ring) == 0 && id == (keyID{}) {
		return nil, nil
	}
	for _, k := range ring {
		if k.id == id {
			return k.psk, nil
		}
	}
	detail := fmt.Sprintf("its key %x is not among our %d", id[:], len(ring))
	if id == (keyID{}) {
		detail = "it came without a key, we have one"
	}
	return nil, refuse(refuseKey, "%s", detail)
}

// readName reads a length and a name, and appends both to hello.
func readName(conn io.Reader, hello []byte) ([]byte, string, error) {
	var n [1]byte
	if _, err := io.ReadFull(conn, n[:]); err != nil {
		return nil, "", err
	}
	if n[0] == 0 || n[0] > MaxNameBytes {
		return nil, "", refuse(refuseMalformed, "a name of %d bytes; allowed are 1 to %d", n[0], MaxNameBytes)
	}
	hello = append(hello, n[0])
	at := len(hello)
	hello = hello[:at+int(n[0])]
	if _, err := io.ReadFull(conn, hello[at:]); err != nil {
		return nil, "", err
	}
	return hello, string(hello[at:]), nil
}
