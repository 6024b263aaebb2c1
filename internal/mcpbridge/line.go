package mcpbridge

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine is what the daemon takes, and more than any value needs.
const maxLine = 6<<20 + 1<<16

var errLong = errors.New("the line is too long")

// readLine returns the next line that is not blank. A line beyond maxLine is skipped:
// errLong.
func readLine(r *bufio.Reader) ([]byte, error) {
	for {
		line, err := wholeLine(r)
		if line = bytes.TrimSpace(line); len(line) > 0 || err != nil {
			return line, err
		}
	}
}

func wholeLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxLine; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case long && (err == nil || err == io.EOF):
			return nil, errLong
		case err == io.EOF && len(line) > 0:
			return line, nil // the end comes next
		}
		return line, err
	}
}
