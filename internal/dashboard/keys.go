package dashboard

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// keyRow is a row of the browser: a key, or a folder of keys.
type keyRow struct {
	Name   string
	Href   string
	Folder bool
	Keys   int
	Type   string
	Value  string
	Writer string
	Age    string
}

// keys loads the browser: the folders and keys below a prefix, or the keys that contain a text.
func keys(v *view) (any, error) {
	type data struct {
		Prefix string
		Crumbs []link
		Search string
		Rows   []keyRow
		Count  int    // the number of keys below the prefix
		Age    string // the age of the list
		First  string // the address of the first page, "" on the first page
		Next   string // the address of the next page
	}
	all, age, err := v.keysFor()
	if err != nil {
		return nil, err
	}
	d := data{Prefix: v.query.Get("prefix"), Search: v.query.Get("q")}
	if len(d.Prefix) > maxQuery || len(d.Search) > maxQuery {
		return nil, &badQuery{"the prefix or the text to search for is over 1,024 bytes long"}
	}
	if age >= time.Second {
		d.Age = ago(age)
	}
	d.Crumbs = crumbs(d.Prefix)
	d.Count = len(within(all, d.Prefix))
	rows, more := children(all, d.Prefix, v.query.Get("after"), maxRows)
	if d.Search != "" {
		rows, more = search(within(all, d.Prefix), d.Search, v.query.Get("after"), maxRows)
	}
	for _, c := range rows {
		if c.Folder() {
			d.Rows = append(d.Rows, keyRow{Name: c.Name, Folder: true, Keys: c.Keys, Href: address("/ui/keys", "prefix", c.Path)})
		} else if v.grant.MayRead(c.Path) {
			d.Rows = append(d.Rows, v.keyRow(c))
		}
	}
	here := address("/ui/keys", "prefix", d.Prefix, "q", d.Search)
	if v.query.Get("after") != "" {
		d.First = here
	}
	if more {
		d.Next = address("/ui/keys", "prefix", d.Prefix, "q", d.Search, "after", rows[len(rows)-1].Path)
	}
	return d, nil
}

const maxQuery = 1024

// address returns the address of a page, without empty parameters.
func address(path string, pairs ...string) string {
	q := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			q.Set(pair[0], pair[1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// crumbs returns links to the folders above a prefix.
func crumbs(prefix string) []link {
	list := []link{{Title: "all keys", Href: "/ui/keys"}}
	for i := range len(prefix) {
		if prefix[i] == '/' {
			start := strings.LastIndexByte(prefix[:i], '/') + 1
			list = append(list, link{Title: prefix[start : i+1], Href: address("/ui/keys", "prefix", prefix[:i+1])})
		}
	}
	list[len(list)-1].Current = true
	return list
}

// search returns at most limit keys after from that contain a text, ignoring case, and whether
// there are more.
func search(keys []string, text, from string, limit int) (list []child, more bool) {
	text = strings.ToLower(text)
	for _, key := range keys[after(keys, from):] {
		if !strings.Contains(strings.ToLower(key), text) {
			continue
		}
		if len(list) == limit {
			return list, true
		}
		list = append(list, child{key, key, 1})
	}
	return list, false
}

func (v *view) keyRow(c child) keyRow {
	row := keyRow{Name: c.Name, Href: address("/ui/key", "key", c.Path), Value: "gone"}
	e, ok := v.agent.Entry(c.Path)
	if !ok {
		return row
	}
	row.Type = e.Kind().String()
	row.Writer = v.agent.WriterName(e.Dot().Actor)
	row.Age = ago(v.now.Sub(e.Stamp().Time()))
	row.Value = "cannot be resolved"
	if value, err := v.agent.Resolve(c.Path, e); err == nil {
		row.Value = preview(value)
	}
	return row
}

// side is a value, its writer, and the time of the write.
type side struct {
	Value  string
	Writer string
	At     time.Time
}

// key loads the page with all that is known of one key.
func key(v *view) (any, error) {
	type version struct {
		Writer, Actor string
		Seq           uint64
	}
	type other struct{ Type, Value string }
	type data struct {
		Key       string
		Crumbs    []link
		Type      string
		Version   string
		Writer    string
		At        time.Time
		Age       string
		Expires   string
		Size      int
		Value     string
		Cut       bool
		Raw       string // the address of the value itself
		Versions  []version
		Siblings  []side
		Others    []other
		Conflicts []conflict
	}
	name := v.query.Get("key")
	if err := crdt.ValidateKey(name); err != nil {
		return nil, err
	}
	if err := v.mayRead(name); err != nil {
		return nil, err
	}
	e, ok := v.agent.Entry(name)
	if !ok {
		return nil, agent.ErrNotFound
	}
	value, err := v.agent.Resolve(name, e)
	if err != nil {
		return nil, err
	}
	d := data{
		Key: name, Crumbs: crumbs(name[:strings.LastIndexByte(name, '/')+1]), Type: e.Kind().String(), Version: e.Version().String(),
		Writer: v.agent.WriterName(e.Dot().Actor), At: e.Stamp().Time(), Age: ago(v.now.Sub(e.Stamp().Time())),
		Size: len(value.Raw()), Raw: "/v1/keys/" + url.PathEscape(name),
	}
	if at := e.Expiry(); at != 0 {
		d.Expires = "in " + ago(time.UnixMilli(int64(at)).Sub(v.now))
	}
	d.Value, d.Cut = pretty(value)
	vector := v.agent.Vector(name)
	for _, actor := range vector.Actors() {
		if len(d.Versions) < maxRows {
			d.Versions = append(d.Versions, version{v.agent.WriterName(actor), actor.String(), vector.Get(actor)})
		}
	}
	if e.Kind() == crdt.Custom {
		for _, s := range e.Siblings() {
			d.Siblings = append(d.Siblings, side{preview(s.Value), v.agent.WriterName(s.Dot.Actor), s.Stamp.Time()})
		}
	}
	for kind, value := range v.agent.Alternatives(name) {
		d.Others = append(d.Others, other{kind.String(), preview(value)})
	}
	slices.SortFunc(d.Others, func(x, y other) int { return strings.Compare(x.Type, y.Type) })
	d.Conflicts, err = v.conflicts(literally(name), 20)
	return d, err
}

// maxShown is how many bytes of a value are shown.
const maxShown = 256 << 10

// pretty returns a value as indented JSON, cut to the bytes that are shown.
func pretty(v crdt.Value) (text string, short bool) {
	if len(v.Raw()) > maxShown {
		return "", true // as text it would have far more bytes than are shown
	}
	raw, err := v.MarshalJSON()
	if err != nil {
		return v.String(), false
	}
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil || b.Len() > 2*maxShown {
		return cut(string(raw), maxShown), len(raw) > maxShown
	}
	return b.String(), false
}

// literally returns a pattern that matches only one key.
func literally(key string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `{`, `\{`, `}`, `\}`).Replace(key)
}
