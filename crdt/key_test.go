package crdt

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestKeysAreNamesBetweenSlashes(t *testing.T) {
	for _, key := range []string{
		"a", "a/b", "task-sentinel/tasks/42/state", "…/…", "a b", "é", "日本/語", "..a", "a..", ".a/b.", "...",
		strings.Repeat("a", 1024), "%2e%2e/x", `a\b`, "*", "{a}", "a:b?c#d",
	} {
		if err := ValidateKey(key); err != nil {
			t.Errorf("%.40q is refused: %v", key, err)
		}
	}
}

func TestBadKeysAreRefusedWithWhatIsAllowed(t *testing.T) {
	f := func(key, reason string) {
		t.Helper()
		err := ValidateKey(key)
		ke, ok := errors.AsType[*KeyError](err)
		if !ok || ke.Key != key || !strings.Contains(err.Error(), reason) {
			t.Errorf("%.40q: %v, want a *KeyError that says %q", key, err, reason)
		}
		if err != nil && (len(err.Error()) > 600 || !utf8.ValidString(err.Error())) {
			t.Errorf("%.40q: the error is %d bytes of text", key, len(err.Error()))
		}
	}
	f("", "is empty; a key is one or more names")
	f(strings.Repeat("a", 1025), "1025 bytes long; at most 1024 are allowed")
	f(strings.Repeat("é/", 400), "at most 1024")
	f("a\xff", "UTF-8")
	f("a\xed\xa0\x80", "UTF-8") // half a surrogate
	f("a\x00b", "control")
	f("a\nb", "control")
	f("a\x7f", "control")
	f("é\u0085", "control")
	f("/", "empty segment; a key is")
	f("/a", "empty segment")
	f("a/", "empty segment")
	f("a//b", "empty segment")
	f("é//b", "empty segment")
	f("..", "segment ..;")
	f("a/../b", "segment ..;")
	f("a/..", "segment ..;")
	f("./a", "segment .;")
	f("a/.", "segment .;")
}

func TestValidKeysSurviveWhatAURLDoesToPaths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[a./é\x01]{0,9}`).Draw(t, "key")
		bad := key == "" || strings.ContainsFunc(key, unicode.IsControl)
		for s := range strings.SplitSeq(key, "/") {
			bad = bad || s == "" || s == "." || s == ".."
		}
		if got := ValidateKey(key) != nil; got != bad {
			t.Fatalf("%q refused: %t, want %t", key, got, bad)
		}
	})
}

func BenchmarkValidateKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if ValidateKey("task-sentinel/tasks/0192ab3c4d5e/state") != nil {
			b.Fatal()
		}
	}
}
