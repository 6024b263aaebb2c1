package crdt

import (
	"fmt"
	"strings"
	"testing"
)

func TestKindsVerbsAndCausesHaveNames(t *testing.T) {
	for k := Register; k <= Custom; k++ {
		if got, err := ParseKind(k.String()); got != k || err != nil {
			t.Errorf("%s: %v, %v", k, got, err)
		}
	}
	for want, named := range map[string]fmt.Stringer{"put": Put, "patch": Patch, "expire": Expire, "verb(9)": Expire + 1, "conflict": CauseConflict, "cause(5)": CauseConflict + 1} {
		if got := named.String(); got != want {
			t.Errorf("%#v is called %s, want %s", named, got, want)
		}
	}
}

// The numbers must not change, because frames and fingerprints contain them.
func TestKindsKeepTheirNumbers(t *testing.T) {
	for name, k := range map[string]Kind{"register": 1, "set": 2, "max": 3, "counter": 4, "object": 5, "custom": 6} {
		if k.String() != name {
			t.Errorf("kind %d is %s, not %s", k, k, name)
		}
	}
}

func TestUnknownNamesAreRefusedWithTheKnownOnes(t *testing.T) {
	for _, s := range []string{"", "Set", "type(1)", "sets"} {
		k, err := ParseKind(s)
		if k != 0 || err == nil || !strings.Contains(err.Error(), "register, set, max, counter, object, custom") {
			t.Errorf("%q: %v, %v", s, k, err)
		}
	}
	if s := Kind(0).String() + Kind(200).String() + Verb(99).String() + Cause(99).String(); s != "type(0)type(200)verb(99)cause(99)" {
		t.Error(s)
	}
}

func TestVersionsRoundTripAsSixteenHexDigits(t *testing.T) {
	for _, v := range []Version{0, 1, 0xabc, 1<<64 - 1} {
		if got, err := ParseVersion(v.String()); got != v || err != nil || len(v.String()) != 16 {
			t.Errorf("%s: %v, %v", v, got, err)
		}
	}
	for _, s := range []string{"", "1", "00000000000000001", "+000000000000001", "0x00000000000001", "000000000000000g"} {
		if v, err := ParseVersion(s); v != 0 || err == nil {
			t.Errorf("%q: %v, %v", s, v, err)
		}
	}
}

func TestErrorsNameTheKeyAndBothSides(t *testing.T) {
	f := func(err error, want string) {
		t.Helper()
		if err.Error() != want {
			t.Errorf("%s\nwant %s", err, want)
		}
	}
	f(&TypeError{Key: "a", Want: Set, Have: Object}, `key "a": the operation is for a set, but it holds an object`)
	f(&TypeError{Key: "a", Want: Object, Have: Max, Rule: "a*"}, `key "a": the operation is for an object, but the rule "a*" makes it a max`)
	f(&ConflictError{"a", 1, 2}, `key "a" has version 0000000000000002; the write was for 0000000000000001`)
	f(&ConflictError{"a", 0, 2}, `key "a" exists with version 0000000000000002; the write was for an absent key`)
	f(&ConflictError{"a", 1, 0}, `key "a" is absent; the write was for version 0000000000000001`)
}
