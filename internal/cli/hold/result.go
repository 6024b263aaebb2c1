package hold

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// outcome is what becomes of an item, as the daemon is told.
type outcome struct {
	verb   string
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
	Retry  string `json:"retry,omitempty"`
}

// judged is the outcome of an item whose command has ended. Exit code 0 is done, whatever
// was printed.
func judged(cmd *exec.Cmd, exit error, output *head, said *tail) outcome {
	if cmd.ProcessState == nil {
		return outcome{verb: "fail", Error: exit.Error()}
	}
	if code := exitCode(cmd.ProcessState); code != 0 {
		return outcome{verb: "fail", Error: strings.TrimSuffix(fmt.Sprintf("exit code %d: %s", code, said), ": ")}
	}
	return outcome{verb: "complete", Result: output.result()}
}

// result is the output as an item keeps it: JSON as it is, nil if there is none, else
// text, cut to what fits.
func (h *head) result() any {
	text, all := bytes.TrimSpace(h.kept), h.size == len(h.kept)
	if len(text) == 0 && all {
		return nil
	}
	if v, err := crdt.JSONValue(text); err == nil && all {
		if _, err := workqueue.ResultOf(v); err == nil {
			return json.RawMessage(text)
		}
	}
	whole := strings.ToValidUTF8(string(text), "\uFFFD")
	if all && len(whole) <= maxText {
		return whole
	}
	note := fmt.Sprintf("\n(cut: the output has %d bytes)", h.size)
	return strings.ToValidUTF8(whole[:min(len(whole), maxText-len(note))], "") + note // not half a character
}

const (
	// maxOutput bounds what is kept of an output: it can be JSON that is longer than the
	// value that it is.
	maxOutput = 6 << 20
	// maxText is the longest text that is a result: a value has some bytes beside it.
	maxText = workqueue.MaxResult - 5
)

// head keeps the first bytes that are written to it, and counts all.
type head struct {
	kept []byte
	size int
}

func (h *head) Write(p []byte) (int, error) {
	room := min(maxOutput-len(h.kept), len(p))
	h.kept = append(h.kept, p[:room]...)
	h.size += len(p)
	return len(p), nil
}

// tailBytes is how much is kept of what a command says on standard error.
const tailBytes = 512

// tail keeps the last bytes that are written to it.
type tail struct{ last []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p...)
	t.last = t.last[max(len(t.last)-tailBytes, 0):]
	return len(p), nil
}

// String returns the end in one line of text.
func (t *tail) String() string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(t.last), "\uFFFD")), " ")
}
