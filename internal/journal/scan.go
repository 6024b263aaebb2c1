package journal

import (
	"cmp"
	"slices"
)

// stored is a file of the folder.
type stored struct {
	name   string
	number uint64
	header
	bytes int64
	last  uint64 // the last frame of which a segment tells anything
	form  form
}

// run is a row of frames with successive numbers, in one segment.
type run struct {
	of       *stored
	at       int64 // the place of the first frame
	from, to uint64
}

// scan reads a segment, and returns the frames that it has. The claim is the greatest of the file,
// and unread is how many bytes are neither frames nor the zeros after them.
func (s *stored) scan(w *window) (runs []run, claim uint64, unread int64, err error) {
	end, err := w.end()
	claim, s.last = s.durable, max(s.durable, s.start-1)
	for at := int64(headerBytes); err == nil && at < end; {
		if at+frameHeader > w.size {
			unread += end - at
			break
		}
		x, next, ok, e := s.form.read(w, at)
		if ok = ok && whole(x.body); ok {
			claim = max(claim, x.claim)
			if n := len(runs); len(x.body) == 0 {
				// Only a claim.
			} else if n > 0 && runs[n-1].to+1 == x.number && unread == 0 {
				runs[n-1].to++
			} else {
				runs = append(runs, run{s, at, x.number, x.number})
			}
			s.last = max(s.last, x.number, x.claim)
			at = next
			continue
		}
		if err = e; err == nil && next == 0 {
			next, err = w.seek(at + 1)
		}
		unread += min(next, end) - at
		at = next
	}
	return runs, claim, unread, err
}

// Gap is a range of frames that are missing, although a claim or a later life says that they were
// there.
type Gap struct{ From, To uint64 }

// plan chooses the runs that a replay reads: all frames after base, in their order. Frames up to known
// are gaps if they are missing. The log ends with the first other one that is missing.
func plan(runs []run, base, known uint64) (pieces []run, gaps []Gap) {
	slices.SortStableFunc(runs, func(a, b run) int { return cmp.Compare(a.from, b.from) })
	for next := base + 1; ; {
		var best run
		for ; len(runs) > 0 && runs[0].from <= next; runs = runs[1:] {
			if runs[0].to > best.to {
				best = runs[0]
			}
		}
		switch {
		case best.to >= next:
			best.from = next // the reader leaves out what comes before
			pieces = append(pieces, best)
			next = best.to + 1
		case next > known:
			return pieces, gaps
		default:
			to := known
			if len(runs) > 0 {
				to = min(to, runs[0].from-1)
			}
			gaps = append(gaps, Gap{next, to})
			next = to + 1
		}
	}
}

// clip takes from the runs of each life the frames that a later life did not find. The later life has
// used their numbers again.
func clip(runs []run, files []*stored) (kept []run) {
	for _, r := range runs {
		for _, f := range files {
			if f.life > r.of.life {
				r.to = min(r.to, f.start-1)
			}
		}
		if r.from <= r.to {
			kept = append(kept, r)
		}
	}
	return kept
}
