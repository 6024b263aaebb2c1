package lockservice

// recordSet holds the records of the leases in one bundle of a client. The members and the digest
// change with every record that comes, goes or gets another token.
type recordSet struct {
	name    Inst
	records []*record
	digest  uint64 // sum of the digests of records
	round   uint64 // latest round that was certified
}

// digest returns the part of one lease in the digest of a bundle. A voter and a client that have
// sets with equal sums have the same instances with the same tokens: instances are random.
func digest(inst Inst, token uint64) uint64 { return mix(mix(inst.N) ^ token) }

// bundle puts a record into the bundle of its client with the given number, or in none if that is 0.
func (a *acceptor) bundle(r *record, number uint64) {
	if number == 0 {
		return
	}
	name := Inst{Node: r.inst.Node, Boot: r.inst.Boot, N: number}
	s := a.sets[name]
	if s == nil {
		s = &recordSet{name: name}
		a.sets[name] = s
	}
	r.set, r.slot = s, len(s.records)
	s.records = append(s.records, r)
	s.digest += digest(r.inst, r.token)
}

// unbundle takes a record out of its bundle, and forgets a bundle without records.
func (a *acceptor) unbundle(r *record) {
	s := r.set
	if s == nil {
		return
	}
	last := len(s.records) - 1
	s.records[r.slot] = s.records[last]
	s.records[r.slot].slot = r.slot
	s.records[last] = nil
	s.records = s.records[:last]
	s.digest -= digest(r.inst, r.token)
	if r.set = nil; last == 0 {
		delete(a.sets, s.name)
	}
}

// renew certifies one round for every lease of a bundle. Its answer stands for an Ack of each, with
// the token on record, and it gives none unless it could give all of them (A11). An
// earlier round than the latest gets no answer, and the latest is not extended again (A3).
func (a *acceptor) renew(t Time, m *Message) Message {
	reply := Message{Kind: Kept, Inst: m.Inst, Round: m.Round, Epoch: m.Epoch}
	if reply.Reason = a.refusal(t, m); reply.Reason != NoReason {
		a.stats.Refused++
		return reply
	}
	s := a.sets[m.Inst]
	if m.Round < s.round {
		return Message{}
	}
	if m.Round > s.round {
		s.round = m.Round
		until := t.Mono + stretch(m.TTL, a.cfg.Drift) // A5
		for _, r := range s.records {
			r.until = max(r.until, until)
		}
	}
	return reply
}

// refusal returns why this voter does not certify a round of a bundle, or NoReason.
func (a *acceptor) refusal(t Time, m *Message) Reason {
	switch {
	case a.quarantineUntil > t.Mono: // A0
		return Quarantined
	case m.TTL > a.cfg.MaxTTL || m.TTL <= 0:
		return TooLong
	case m.Epoch != a.epoch: // R1
		return WrongEpoch
	case m.Hash != a.hash: // R6
		return WrongConfig
	}
	s := a.sets[m.Inst]
	if s == nil {
		return Gone
	}
	for i := len(s.records) - 1; i >= 0; i-- { // backwards, since the last record takes the place of one that goes
		if i < len(s.records) && s.records[i].until <= t.Mono {
			a.current(t.Mono, s.records[i].lock)
		}
	}
	if s.digest != m.Digest || len(s.records) == 0 { // A11
		return Differs
	}
	for _, r := range s.records {
		if r.token <= r.prev || a.cfg.Barred != nil && a.cfg.Barred(r.lock, r.token) { // A2
			return Differs
		}
	}
	return NoReason
}
