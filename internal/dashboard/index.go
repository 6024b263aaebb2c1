package dashboard

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// index is the sorted list of all keys, which all pages share. The keys are walked only after a
// change, at most five times a second, and for at most a fiftieth of the time.
type index struct {
	mu   sync.Mutex // guards the fields below; pages that would walk the keys too wait for it
	keys []string   // never modified, only replaced
	mark mark
	at   time.Time
	took time.Duration
	used time.Time
}

// mark is a value that changes whenever keys may have come or gone.
type mark struct {
	Writes, Merged, Expired, Dropped uint64
	Keys                             int
}

const (
	walkEvery = 200 * time.Millisecond
	walkShare = 50          // a walk is followed by a pause of so many times its duration
	unused    = time.Minute // the keys are freed when no page has used them for this time
)

// all returns all keys in order, and the age of that list. The caller must not change the slice.
func (x *index) all(a *agent.Agent, now time.Time) ([]string, time.Duration, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.used = now
	if x.keys != nil && now.Sub(x.at) < max(walkEvery, walkShare*x.took) {
		return x.keys, now.Sub(x.at), nil
	}
	s := a.Stats()
	m := mark{s.Writes, s.Store.Merged, s.Store.Expired, s.Store.Dropped, s.Store.Keys}
	if x.keys != nil && m == x.mark {
		return x.keys, 0, nil
	}
	begin := time.Now()
	keys, err := a.Keys("**")
	if err != nil {
		return nil, 0, err
	}
	if keys == nil {
		keys = []string{}
	}
	x.keys, x.mark, x.at, x.took = keys, m, now, time.Since(begin)
	return keys, 0, nil
}

// expire frees the list of keys if no page has used it for a while.
func (x *index) expire(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if now.Sub(x.used) > unused {
		x.keys = nil
	}
}

// readable returns the keys that a grant covers, in order. The keys of one right are contiguous, so
// that binary searches find them without a look at each key.
func readable(keys []string, g *api.Grant) []string {
	if g.MayRead(api.Everything) {
		return keys
	}
	var parts [][]string
	for _, r := range g.Rights {
		if r.Verb != api.Read && r.Verb != api.Write {
			continue
		}
		base := strings.TrimSuffix(r.Key, "/")
		if at, found := slices.BinarySearch(keys, base); found && base != "" {
			parts = append(parts, keys[at:at+1])
		}
		if below := within(keys, base+"/"); len(below) > 0 {
			parts = append(parts, below)
		}
	}
	slices.SortFunc(parts, func(x, y []string) int { return cmp.Compare(x[0], y[0]) })
	var list []string
	for _, part := range parts { // if two overlap, one contains the other
		if len(list) > 0 {
			part = part[after(part, list[len(list)-1]):]
		}
		list = append(list, part...)
	}
	return list
}

// within returns the keys with a prefix.
func within(keys []string, prefix string) []string {
	from, _ := slices.BinarySearch(keys, prefix)
	keys = keys[from:]
	return keys[:sort.Search(len(keys), func(i int) bool { return !strings.HasPrefix(keys[i], prefix) })]
}

// after returns the index of the first key after key.
func after(keys []string, key string) int {
	at, found := slices.BinarySearch(keys, key)
	if found {
		at++
	}
	return at
}

// child is a key right below a prefix, or a folder of keys, whose path ends with a slash.
type child struct {
	Path string
	Name string // the part after the prefix
	Keys int    // the number of keys in the folder
}

// Folder reports whether the child is a folder.
func (c child) Folder() bool { return strings.HasSuffix(c.Path, "/") }

// children returns at most limit children of a prefix, beginning after from, and whether there are
// more. It skips the keys inside each folder.
func children(keys []string, prefix, from string, limit int) (list []child, more bool) {
	keys = within(keys, prefix)
	if strings.HasSuffix(from, "/") {
		at, _ := slices.BinarySearch(keys, from)
		keys = keys[at+len(within(keys, from)):]
	} else {
		keys = keys[after(keys, from):]
	}
	for len(keys) > 0 {
		if len(list) == limit {
			return list, true
		}
		name := keys[0][len(prefix):]
		c := child{keys[0], name, 1}
		if end := strings.IndexByte(name, '/'); end >= 0 {
			c.Name = name[:end+1]
			c.Path = prefix + c.Name
			c.Keys = len(within(keys, c.Path))
		}
		list = append(list, c)
		keys = keys[c.Keys:]
	}
	return list, false
}

// keysFor returns the keys that the caller of a page may read.
func (v *view) keysFor() ([]string, time.Duration, error) {
	all, age, err := v.index.all(v.agent, v.now)
	return readable(all, v.grant), age, err
}
