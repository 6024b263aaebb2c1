package sim

import (
	"bytes"
	"strings"
	"testing"
)

func render(t *testing.T, s Script, r Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteReport(&b, s, r, ReportOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAReportTellsTheRun(t *testing.T) {
	script, err := ParseScript("peers 3\n1s 1 put <script>alert(1)</script> \"</pre><b>\"\n2s cut 1 | 2,3\n3s kill 3\n8s heal\n9s start 3\n12s end")
	if err != nil {
		t.Fatal(err)
	}
	r, err := script.Run(Options{Report: true})
	if err != nil {
		t.Fatal(err)
	}
	page := render(t, script, r)
	for _, want := range []string{"3 peers, 12s of faults: agreed", "cut: 1 | 2,3", "is killed", `class="cut"`, "sentinel-peer sim --seed 0", "&lt;script&gt;"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, no := range []string{"<script", "<b>", "http://", "https://"} {
		if strings.Contains(page, no) {
			t.Errorf("the page holds %q", no)
		}
	}
	if page != render(t, script, r) {
		t.Error("the same run makes two pages")
	}
	r.Violations = []string{"O2: it is gone"}
	if failed := render(t, script, r); !strings.Contains(failed, "<h1 class=\"bad\">Violated: O2: it is gone</h1>") {
		t.Error("a violation is not what it says first")
	}
}

func TestAReportOfALongRunIsSmall(t *testing.T) {
	script := Draw(7, Bounds{Peers: 5, Duration: 120e9})
	r, err := script.Run(Options{Report: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(render(t, script, r)); n > 1<<20 {
		t.Errorf("%d bytes", n)
	}
}
