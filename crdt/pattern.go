package crdt

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// maxAlternatives is the greatest number of globs without braces to which one glob expands.
const maxAlternatives = 64

// Pattern is a compiled glob over keys. '*' stands for any text within one segment, and '?'
// for one character of it. [a-z] and [!a-z] stand for one character of a class, and {a,b}
// for alternatives. '**' as a whole segment stands for any number of segments including
// none, so a/** matches a. A backslash takes the next character literally. A Pattern is
// immutable; the zero Pattern matches nothing.
type Pattern struct {
	glob string
	alts []alternative
}

// alternative is a glob without braces.
type alternative struct {
	glob   string
	prefix string // literal text before the first special character
	mode   matchMode
}

type matchMode uint8

const (
	matchExact matchMode = iota // the glob is its prefix
	matchUnder                  // the glob is its prefix, which is empty or ends in '/', and "**"
	matchGlob                   // any other glob
)

// CompilePattern compiles glob, which has 1 to 1,024 bytes and whose braces expand to at
// most 64 alternatives. The error says what is wrong with the glob. CompilePattern expands
// braces because matching them takes time exponential in their number, and globs come from
// clients that are not trusted.
func CompilePattern(glob string) (Pattern, error) {
	switch {
	case glob == "":
		return Pattern{}, errors.New("pattern is empty; ** matches every key")
	case len(glob) > wire.MaxKeyBytes:
		return Pattern{}, fmt.Errorf("pattern is %d bytes long; at most %d are allowed", len(glob), wire.MaxKeyBytes)
	case !doublestar.ValidatePattern(glob):
		return Pattern{}, fmt.Errorf("pattern %q is malformed: a bracket, brace or backslash is left open", glob)
	}
	plain, err := confineClasses(glob)
	if err != nil {
		return Pattern{}, err
	}
	p := Pattern{glob: glob}
	for _, g := range expand(nil, plain) {
		p.alts = append(p.alts, newAlternative(g))
	}
	if len(p.alts) > maxAlternatives {
		return Pattern{}, fmt.Errorf("pattern %q has too many alternatives in braces; at most %d are allowed", glob, maxAlternatives)
	}
	return p, nil
}

func newAlternative(glob string) alternative {
	for strings.Contains(glob, "/**/**") { // doublestar handles only one "/**" at the end
		glob = strings.ReplaceAll(glob, "/**/**", "/**")
	}
	a := alternative{glob: glob, prefix: glob}
	if i := strings.IndexAny(glob, `*?[\`); i >= 0 {
		a.prefix, a.mode = glob[:i], matchGlob
		if glob[i:] == "**" && (i == 0 || glob[i-1] == '/') {
			a.mode = matchUnder
		}
	}
	return a
}

// Literal returns the glob that matches key alone.
func Literal(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if strings.IndexByte(`\*?[]{},`, key[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(key[i])
	}
	return b.String()
}

// String returns the glob.
func (p Pattern) String() string { return p.glob }

// KeyRange is the keys k with From <= k < To, by their bytes. An empty To stands for no end.
type KeyRange struct{ From, To string }

// StartingWith returns the range of the keys that start with prefix.
func StartingWith(prefix string) KeyRange {
	for n := len(prefix); n > 0; n-- {
		if last := prefix[n-1]; last < 0xff {
			return KeyRange{prefix, prefix[:n-1] + string([]byte{last + 1})}
		}
	}
	return KeyRange{From: prefix}
}

// Ranges returns disjoint ranges of keys, in order, outside of which no key matches. They are
// as narrow as the literal text with which the globs of p start.
func (p Pattern) Ranges() []KeyRange {
	var list []KeyRange
	for _, a := range p.alts {
		switch a.mode {
		case matchExact:
			list = append(list, KeyRange{a.prefix, a.prefix + "\x00"})
		case matchUnder:
			if itself := strings.TrimSuffix(a.prefix, "/"); itself != "" {
				list = append(list, KeyRange{itself, itself + "\x00"})
			}
			list = append(list, StartingWith(a.prefix))
		case matchGlob:
			list = append(list, StartingWith(a.prefix))
		}
	}
	slices.SortFunc(list, func(a, b KeyRange) int { return strings.Compare(a.From, b.From) })
	joined := list[:0]
	for _, r := range list {
		if n := len(joined); n > 0 && (joined[n-1].To == "" || r.From <= joined[n-1].To) {
			last := &joined[n-1]
			if last.To != "" && (r.To == "" || r.To > last.To) {
				last.To = r.To
			}
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// Behind returns the parts of ranges, which are in order, behind the key after.
func Behind(ranges []KeyRange, after string) []KeyRange {
	if after == "" {
		return ranges
	}
	var list []KeyRange
	for _, r := range ranges {
		if r.From = max(r.From, after+"\x00"); r.To == "" || r.From < r.To {
			list = append(list, r)
		}
	}
	return list
}

// Match reports whether key matches. It does not allocate.
func (p Pattern) Match(key string) bool {
	for i := range p.alts {
		if p.alts[i].match(key) {
			return true
		}
	}
	return false
}

func (a *alternative) match(key string) bool {
	switch a.mode {
	case matchExact:
		return key == a.prefix
	case matchUnder:
		return under(key, a.prefix)
	}
	if !strings.HasPrefix(key, a.prefix) {
		return false
	}
	whole := strings.LastIndexByte(a.prefix, '/') + 1 // the segments before this index match already
	return doublestar.MatchUnvalidated(a.glob[whole:], key[whole:])
}

// under reports whether key starts with prefix, or is prefix without its last byte, which
// is a slash. So both a/b and a are under a/.
func under(key, prefix string) bool {
	return strings.HasPrefix(key, prefix) || len(key)+1 == len(prefix) && prefix[:len(key)] == key
}

// expand appends the globs without braces for which glob stands, in order. It stops when
// there are more than maxAlternatives.
func expand(dst []string, glob string) []string {
	start := skipTo(glob, 0, "{")
	if start == len(glob) {
		return append(dst, glob)
	}
	depth, from := 0, start+1
	for i := start; i < len(glob) && len(dst) <= maxAlternatives; i = skipTo(glob, i+1, "{,}") {
		switch c := glob[i]; {
		case c == '{':
			depth++
		case depth > 1 && c == '}':
			depth--
		case depth == 1:
			end := start + 1 + closing(glob[start+1:])
			dst = expand(dst, glob[:start]+glob[from:i]+glob[end+1:])
			if from = i + 1; c == '}' {
				return dst
			}
		}
	}
	return dst
}

// closing returns the index in s of the brace that closes a brace right before s.
func closing(s string) int {
	depth := 1
	for i := skipTo(s, 0, "{}"); i < len(s); i = skipTo(s, i+1, "{}") {
		if s[i] == '{' {
			depth++
		} else if depth--; depth == 0 {
			return i
		}
	}
	return len(s) - 1
}

// skipTo returns the first index, from i on, of a character of chars that is neither
// escaped nor in a class. It returns len(glob) if there is none.
func skipTo(glob string, i int, chars string) int {
	for ; i < len(glob); i++ {
		switch c := glob[i]; {
		case strings.IndexByte(chars, c) >= 0:
			return i
		case c == '\\':
			i++
		case c == '[':
			i = classEnd(glob, i)
		}
	}
	return len(glob)
}

// classEnd returns the index of the bracket that closes the class at i.
func classEnd(glob string, i int) int {
	for i++; i < len(glob) && glob[i] != ']'; i++ {
		if glob[i] == '\\' {
			i++
		}
	}
	return i
}

// confineClasses returns glob with classes that match only within one segment, as '*' and
// '?' do. It makes a negated class such as [!a] exclude the slash, and refuses a class that
// includes one.
func confineClasses(glob string) (string, error) {
	var b strings.Builder
	done := 0
	for i := skipTo(glob, 0, "["); i < len(glob); i = skipTo(glob, i+1, "[") {
		end := classEnd(glob, i)
		class := glob[i : end+1]
		if doublestar.MatchUnvalidated(class, "/") {
			if class[1] != '!' && class[1] != '^' {
				return "", fmt.Errorf("pattern %q: the class %s holds a slash, which separates segments", glob, class)
			}
			b.WriteString(glob[done:i] + "[!/")
			if done = i + 2; class[2] == '-' {
				b.WriteByte('\\') // the hyphen was literal, and must not become a range from the slash
			}
		}
		i = end
	}
	return b.String() + glob[done:], nil
}
