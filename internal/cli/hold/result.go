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

// outcome is what became of an item: the end of the path to report it, and the body.
type outcome struct {
	verb   string
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
	Retry  string `json:"retry,omitempty"`
}

// judged returns the outcome of an item whose command has ended. Exit code 0 completes the item,
// whatever the command printed.
func judged(cmd *exec.Cmd, exit error, output *head, said *tail) outcome {
	if cmd.ProcessState == nil {
		return outcome{verb: "fail", Error: exit.Error()}
	}
	if code := exitCode(cmd.ProcessState); code != 0 {
		return outcome{verb: "fail", Error: strings.TrimSuffix(fmt.Sprintf("exit code %d: %s", code, said), ": ")}
	}
	return outcome{verb: "complete", Result: output.result()}
}

// result returns the output as the item's result: nil if there is none, JSON unchanged if the
// store can keep it, else text, cut to what fits.
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
	return strings.ToValidUTF8(whole[:min(len(whole), maxText-len(note))], "") + note // the cut must not halve a character
}

const (
	// maxOutput is how many bytes of an output are kept. JSON can be longer than the value that
	// it stands for, by escapes and spaces.
	maxOutput = 6 << 20
	// maxText is the length of the longest text that is a result: the encoded value has a few
	// bytes more.
	maxText = workqueue.MaxResult - 5
)

// head keeps the first maxOutput bytes that are written to it, and counts all.
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

// tailBytes is how many bytes of a command's standard error are kept.
const tailBytes = 512

// tail keeps the last tailBytes bytes that are written to it.
type tail struct{ last []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p...)
	t.last = t.last[max(len(t.last)-tailBytes, 0):]
	return len(p), nil
}

// String returns the kept bytes as one line of text.
func (t *tail) String() string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(t.last), "\uFFFD")), " ")
}
