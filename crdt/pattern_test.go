package crdt

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func mustCompile(t testing.TB, glob string) Pattern {
	t.Helper()
	p, err := CompilePattern(glob)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPatternsMatchSegmentBySegment(t *testing.T) {
	f := func(glob string, matching, others string) {
		t.Helper()
		p := mustCompile(t, glob)
		for key := range strings.FieldsSeq(matching) {
			if !p.Match(key) {
				t.Errorf("%q does not match %q", glob, key)
			}
			if !inRanges(p, key) {
				t.Errorf("%q matches %q, which is in none of its ranges %q", glob, key, p.Ranges())
			}
		}
		for key := range strings.FieldsSeq(others) {
			if p.Match(key) {
				t.Errorf("%q matches %q", glob, key)
			}
		}
	}
	f("a", "a", "b aa a/b A")
	f("a/b", "a/b", "a a/b/c a/bb")
	f("*", "a abc", "a/b")
	f("**", "a a/b a/b/c", "")
	f("**/**", "a a/b", "")
	f("a/*", "a/b a/bc", "a ab a/b/c b/a")
	f("a/**", "a a/b a/b/c", "ab ab/c b/a")
	f("a/**/**", "a a/b a/b/c", "ab")
	f("a/**/b", "a/b a/x/b a/x/y/b", "a b a/x a/xb")
	f("a/**/**/b", "a/b a/x/b", "a ab")
	f("**/b", "b a/b a/a/b", "ab a/ab")
	f("**/state/**", "state state/x a/state a/b/state/c", "a/states statex")
	f("ta**", "ta task", "ta/b t")
	f("**/**/b", "b a/b a/a/b", "a ab")
	f("a**b", "ab axb", "a/b ax/b")
	f("ta*", "ta task", "ta/b t")
	f("task-sentinel/tasks/*/state", "task-sentinel/tasks/42/state", "task-sentinel/tasks/state task-sentinel/tasks/1/2/state task-sentinel/tasks/42/state/x")
	f("a?c", "abc aéc", "ac abbc a/c")
	f("a[bc]d", "abd acd", "aad a/d abcd")
	f("a[b-d]e", "abe ade", "aae")
	f("a[!b]c", "aac adc a-c", "abc a/c")
	f("a[^b]c", "aac", "abc a/c")
	f("a[!-b]c", "aac", "a-c abc a/c")
	f("a[!b-]c", "aac", "a-c abc a/c")
	f("**/a[!b]c", "aac x/aac", "x/a/c")
	f("{a,b}/c", "a/c b/c", "c/c a b ab/c")
	f("{a,b{c,d}e,}x", "ax bcex bdex x", "bx bex abx")
	f("{a}{b,c}", "ab ac", "a abc")
	f("a/{b/**,c}", "a/b a/b/x a/c", "a/c/x a")
	f("a{/**,}", "a a/b", "ab")
	f("{a,b}*{c,}", "a b ac axc bx", "c") // doublestar alone does not match an empty alternative after a star
	f("a[{,}]b", "a{b a,b a}b", "ab axb")
	f(`a\*b`, "a*b", "axb ab")
	f(`a\{b,c\}`, "a{b,c}", "ab ac")
	f("é/*", "é/a", "e/a")
}

func TestTheZeroPatternMatchesNothing(t *testing.T) {
	var p Pattern
	if p.Match("") || p.Match("a") || p.Ranges() != nil || p.String() != "" {
		t.Error("the zero Pattern matches something")
	}
}

func inRanges(p Pattern, key string) bool {
	return slices.ContainsFunc(p.Ranges(), func(r KeyRange) bool { return r.From <= key && (r.To == "" || key < r.To) })
}

func TestRangesAreTheLiteralHeads(t *testing.T) {
	f := func(glob string, want ...string) {
		t.Helper()
		var got []string
		for _, r := range mustCompile(t, glob).Ranges() {
			got = append(got, r.From+" "+r.To)
		}
		if !slices.Equal(got, want) {
			t.Errorf("ranges of %q: %q, want %q", glob, got, want)
		}
	}
	f("a/b", "a/b a/b\x00")
	f("a/b/**", "a/b a/b\x00", "a/b/ a/b0")
	f("a/b*", "a/b a/c")
	f("**", " ")
	f("*/b", " ")
	f("tasks/{1,12}/state", "tasks/1/state tasks/1/state\x00", "tasks/12/state tasks/12/state\x00")
	f("tasks/{1,12}*", "tasks/1 tasks/2")
	f("{b,a}", "a a\x00", "b b\x00")
	f(`a\*`, "a b")
}

func TestMalformedPatternsAreRefused(t *testing.T) {
	f := func(glob, reason string) {
		t.Helper()
		if _, err := CompilePattern(glob); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%.40q: %v, want an error that says %q", glob, err, reason)
		}
	}
	f("", "** matches every key")
	f(strings.Repeat("a", 1025), "1025 bytes")
	f("a[", "malformed")
	f("a[]", "malformed")
	f("{a", "malformed")
	f("a}", "malformed")
	f(`a\`, "malformed")
	f("a[/]b", "slash")
	f("a[+-9]b", "slash")
	f(strings.Repeat("{a,b}", 7), "too many alternatives")
	if _, err := CompilePattern(strings.Repeat("{a,b}", 6)); err != nil {
		t.Error(err)
	}
	if _, err := CompilePattern(strings.Repeat("a", 1024)); err != nil {
		t.Error(err)
	}
}

// A library that expands braces while it matches needs 2^n steps for the first of these
// globs. The others are expensive for a matcher that backtracks.
func TestHostilePatternsEndInTime(t *testing.T) {
	key := strings.Repeat("a", 1023) + "c"
	path := strings.Repeat("a/", 511) + "c"
	for _, glob := range []string{
		strings.Repeat("{a,a}", 204) + "b",
		strings.Repeat("{", 500) + strings.Repeat("}", 500),
		strings.Repeat("{a,", 300) + strings.Repeat("}", 100),
		strings.Repeat("{,", 341) + strings.Repeat("}", 341),
		strings.Repeat("{a,a}", 6) + strings.Repeat("a*", 400) + "b",
		strings.Repeat("*a", 500) + "b",
		strings.Repeat("**/", 340) + "b",
		strings.Repeat("**/a/", 200) + "b",
		"**/" + strings.Repeat("*a", 500) + "b",
		"*" + "[" + strings.Repeat("b", 1000) + "]",
	} {
		start := time.Now()
		p, err := CompilePattern(glob)
		if err == nil && (p.Match(key) || p.Match(path)) {
			t.Errorf("%.40q matches", glob)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%.40q took %v", glob, took)
		}
	}
}

// asRegexp translates a glob independently of Pattern. It handles the globs that the test
// below draws, in which a brace is never next to a star that follows a slash.
func asRegexp(glob string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.NewReplacer(
		"**/", "(?:[^/]+/)*", "/**", "(?:/.*)?", "*", "[^/]*", "?", "[^/]", "{", "(?:", ",", "|", "}", ")").Replace(glob) + "$")
}

// The fast paths, the expansion of braces and the library together match the same keys as an
// independent translation of the glob.
func TestCompiledPatternsAgreeWithRegularExpressions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		glob := rapid.StringMatching(`(\*\*/)?([ab]|\*[ab]|\?|\[ab\]|\{a,b\}|\{a,b/a,\}|/[ab]|/\*/[ab]){1,6}(/\*\*|\*)?`).Draw(t, "glob")
		key := rapid.StringMatching(`[ab]{1,3}(/[ab]{1,3}){0,3}`).Draw(t, "key")
		p, err := CompilePattern(glob)
		if err != nil {
			t.Fatal(err)
		}
		want := asRegexp(glob).MatchString(key)
		if got := p.Match(key); got != want {
			t.Fatalf("%q on %q: %t, want %t (alternatives %q)", glob, key, got, want, p.alts)
		}
		if want && !inRanges(p, key) {
			t.Fatalf("%q matches %q, which is in none of its ranges %q", glob, key, p.Ranges())
		}
	})
}

func TestMatchingAllocatesNothing(t *testing.T) {
	key := "task-sentinel/tasks/0192ab/agents/" + strings.Repeat("x", 64)
	for _, glob := range []string{"task-sentinel/**", "task-sentinel/tasks/*/agents/*", "{a,task-sentinel}/**", key, key + "/**"} {
		p := mustCompile(t, glob)
		if n := testing.AllocsPerRun(100, func() {
			if !p.Match(key) {
				t.Fatal(glob)
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations", glob, n)
		}
	}
}

func FuzzCompilePattern(f *testing.F) {
	f.Add("a/{b,[!c-d]}/**", "a/b/c")
	f.Add(`{\},[}]{,}`, "}")
	f.Fuzz(func(t *testing.T, glob, key string) {
		p, err := CompilePattern(glob)
		if err != nil {
			return
		}
		if p.Match(key) && !inRanges(p, key) {
			t.Errorf("%q matches %q, which is in none of its ranges %q", glob, key, p.Ranges())
		}
	})
}

func BenchmarkPatternMatch(b *testing.B) {
	key := "task-sentinel/tasks/0192ab3c4d5e/state"
	for name, glob := range map[string]string{"prefix": "task-sentinel/tasks/**", "glob": "task-sentinel/tasks/*/state", "miss": "queue/*/state"} {
		p := mustCompile(b, glob)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Match(key)
			}
		})
	}
}
