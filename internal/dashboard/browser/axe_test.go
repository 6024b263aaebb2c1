package browser

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// axe-core checks a page for accessibility. This is the release that the test uses.
const (
	axePackage = "axe-core@4.14.1"
	axeSum     = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c" // SHA-256 of axe.min.js
)

// axe returns the script, which npm downloads. Without npm or its registry, the test is skipped and
// says so.
func axe(t *testing.T) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("SKIP axe: npm is not here")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	install := exec.CommandContext(ctx, npm, "install", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts", axePackage)
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("SKIP axe: npm does not bring %s: %v\n%s", axePackage, err, out)
	}
	script, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(script); hex.EncodeToString(sum[:]) != axeSum {
		t.Fatalf("%s is another than it was: SHA-256 %x", axePackage, sum)
	}
	return string(script)
}

// accessible runs axe on every page, in both colour schemes, on a phone and on a desktop.
func accessible(x *tab) {
	script := axe(x.t)
	for _, scheme := range []string{"light", "dark"} {
		media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
		_, err := chromedp.Call(x.ctx, emulation.SetEmulatedMedia, media)
		x.must(err)
		for _, wide := range []int64{360, 1120} {
			x.do(chromedp.EmulateViewport(wide, 800))
			for _, path := range paths {
				x.page(path)
				js[bool](x, "(() => {"+script+"})(), true") // the policy of the page does not apply to the driver
				found, err := chromedp.Run(x.ctx, chromedp.Evaluate[string](`axe.run().then(r => r.violations.map(v => v.id + ": " + v.nodes.map(n => n.html).slice(0, 3).join(" ")).join("\n"))`, chromedp.EvalAwaitPromise))
				x.must(err)
				if found != "" {
					x.t.Errorf("%s, %s, %d pixels wide: %s", path, scheme, wide, found)
				}
			}
		}
	}
}
