package journal

import (
	"errors"
	"fmt"
	"io"
)

// FS is a folder of a file system. Dir is the real one, and package modelfs has a model that loses
// what was not synced. It is safe for concurrent use.
type FS interface {
	// Lock takes the folder for this process until the result is closed. It returns ErrInUse if
	// another process has it.
	Lock() (io.Closer, error)
	// List returns the names of all files.
	List() ([]string, error)
	// Create makes a file of size zero bytes that does not exist yet, and sets space aside for them.
	// It leaves no file behind if it fails.
	Create(name string, size int64) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// Sync makes the names of all files durable.
	Sync() error
}

// File is an open file of an FS. One goroutine at a time uses it.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes the content durable, and the size.
	Sync() error
}

var (
	// ErrInUse says that another process has the folder open.
	ErrInUse = errors.New("the folder is in use")
	// ErrClosed says that the log was closed.
	ErrClosed = errors.New("the journal is closed")
	// ErrTooLarge says that a frame would exceed MaxFrame, or a section of a snapshot.
	ErrTooLarge = fmt.Errorf("more than %d MiB in one frame", MaxFrame>>20)
	// ErrSnapshotNeeded says that frames which no sync covers are no longer in memory, after a failure
	// or a start. Nothing is reported as synced until a snapshot stands for them.
	ErrSnapshotNeeded = errors.New("nothing counts as synced before the next snapshot")
)

// DiskError is a failure of the file system. The log goes on with a new file at the next flush.
type DiskError struct {
	Op   string // "create", "write", "sync", …
	File string // its name, or "" for the folder
	Err  error  // syscall.ENOSPC for a full disk
}

func (e *DiskError) Error() string {
	return fmt.Sprintf("journal: %s %s: %v", e.Op, e.File, e.Err)
}

func (e *DiskError) Unwrap() error { return e.Err }

// failed returns err as a DiskError, nil for nil.
func failed(op, file string, err error) error {
	if err == nil {
		return nil
	}
	return &DiskError{op, file, err}
}

// BacklogError says that an append was refused, since the disk does not keep up with the writes.
type BacklogError struct {
	Bytes int   // that wait to be written
	Err   error // the latest failure of the disk, nil if it is slow
}

func (e *BacklogError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("journal: %d bytes wait to be written", e.Bytes)
	}
	return fmt.Sprintf("journal: %d bytes wait to be written: %v", e.Bytes, e.Err)
}

func (e *BacklogError) Unwrap() error { return e.Err }

// VersionError says that a newer program wrote a file. Open has changed nothing.
type VersionError struct {
	File    string
	Version uint32 // that the file has
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("journal: %s has the format %d, and this program reads formats up to %d", e.File, e.Version, Version)
}

// KeyError says that the key of a file is not among those of Options. Open has changed nothing.
type KeyError struct {
	File string
	ID   KeyID
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("journal: %s is encrypted with the key %x, which was not given", e.File, e.ID)
}
