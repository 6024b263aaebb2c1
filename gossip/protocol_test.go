package gossip

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// docs/protocol.md has a row for every kind of section. The sections of the golden frames have as
// many fields as their rows list; a field with ? may be absent. Rows that repeat fields (…) are not counted.
func TestTheDocsListTheFieldsOfSections(t *testing.T) {
	text, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[uint64][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (\\d+) \\| (?:`\\[(.*?)\\]` )?\\|").FindAllStringSubmatch(string(text), -1) {
		kind, _ := strconv.ParseUint(row[1], 10, 64)
		rows[kind] = strings.Split(row[2], ", ")
	}
	for kind := range uint64(len(sectionNames)) {
		if fields, ok := rows[kind]; !ok || kind != secLocks && fields[0] != strconv.FormatUint(kind, 10) {
			t.Errorf("the row of section %d (%s) is %q", kind, SectionName(kind), fields)
		}
	}
	counted := map[uint64]bool{}
	for name, frame := range goldenFrames(t) {
		for kind, got := range fieldCounts(frame) {
			fields := rows[kind]
			if strings.Contains(strings.Join(fields, " "), "…") {
				continue
			}
			counted[kind] = true
			most := len(fields)
			least := most - strings.Count(strings.Join(fields, " "), "?")
			if got < least || got > most {
				t.Errorf("%s: section %d has %d fields; its row lists %q", name, kind, got, fields)
			}
		}
	}
	for _, kind := range []uint64{secDeltas, secDigest, secSyncRequest, secSyncReply, secSums, secPath} {
		if !counted[kind] {
			t.Errorf("no golden frame has a section %d (%s) to count", kind, SectionName(kind))
		}
	}
}

// fieldCounts returns the number of fields of a section of each kind in a frame, the kind included.
// It returns nothing for a compressed frame.
func fieldCounts(frame []byte) map[uint64]int {
	counts := map[uint64]int{}
	r := wire.NewReader(frame)
	r.ArrayLen()
	r.Skip() // the version
	if r.Uint() != 0 {
		return nil
	}
	r.Skip() // the cluster
	for range r.ArrayLen() {
		n := r.ArrayLen()
		counts[r.Uint()] = n
		for range n - 1 {
			r.Skip()
		}
	}
	return counts
}
