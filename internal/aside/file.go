package aside

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// FilePatience is how long ReadFile waits for a disk, which may belong to another machine.
const FilePatience = 5 * time.Second

const (
	maxFile  = 16 << 20 // bytes
	maxReads = 16       // reads at once, including those that were given up and have not ended
)

var files = newReader(readRegular)

// File is the content of a file, and its mode.
type File struct {
	Text []byte
	Mode fs.FileMode
}

// ReadFile reads a file of up to 16 MiB. It refuses files that are not regular, such as a pipe,
// which may never end. It gives up when ctx ends, or after FilePatience.
func ReadFile(ctx context.Context, name string) (File, error) {
	return files.read(ctx, name)
}

// reader reads files on goroutines of their own.
type reader struct {
	from  func(name string) (File, error)
	reads chan struct{} // holds one value for each read under way
}

func newReader(from func(name string) (File, error)) *reader {
	return &reader{from, make(chan struct{}, maxReads)}
}

func (r *reader) read(ctx context.Context, name string) (File, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, FilePatience, fmt.Errorf("no answer within %v", FilePatience))
	defer cancel()
	type result struct {
		file File
		err  error
	}
	done := make(chan result, 1)
	select {
	case r.reads <- struct{}{}:
		go func() {
			defer func() { <-r.reads }()
			file, err := r.from(name)
			done <- result{file, err}
		}()
	case <-ctx.Done():
	}
	select {
	case got := <-done:
		return got.file, got.err
	case <-ctx.Done():
		return File{}, fmt.Errorf("read %s: given up: %w", name, context.Cause(ctx))
	}
}

func readRegular(name string) (file File, err error) {
	stat, err := os.Stat(name) // before it is opened, since opening a pipe would wait for a writer
	if err != nil {
		return file, err
	}
	if !stat.Mode().IsRegular() {
		return file, fmt.Errorf("%s is %s: want a regular file", name, kind(stat.Mode()))
	}
	f, err := os.Open(name)
	if err != nil {
		return file, err
	}
	defer f.Close()
	file.Mode = stat.Mode()
	if file.Text, err = io.ReadAll(io.LimitReader(f, maxFile+1)); err == nil && len(file.Text) > maxFile {
		err = fmt.Errorf("%s has more than %d MiB", name, maxFile>>20)
	}
	return file, err
}

func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}
