package mcpbridge

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine is the longest line in bytes; the daemon takes no longer body.
const maxLine = 6<<20 + 1<<16

var errLong = errors.New("the line is too long")

// readLine returns the next line that is not blank. It skips a line longer than maxLine and returns
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
			return line, nil // the next call returns the end
		}
		return line, err
	}
}
