package modelfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"syscall"

	"github.com/sentinel-peer/sentinel-peer/internal/journal"
)

// PageBytes is the size of what survives or is lost as a whole.
const PageBytes = 4096

// ErrPower is the error of every operation after the power has failed.
var ErrPower = errors.New("the power is off")

// FS is a folder in memory.
type FS struct {
	// Before is called before each operation that changes something, without a lock, with the
	// operation's name and the file's. The operation fails with the error that it returns,
	// and has no effect then, but for a sync. A call that takes long is a slow disk.
	Before func(op, name string) error
	// Space is how many bytes all files may have together; 0 is no limit.
	Space int64

	mu      sync.Mutex
	off     bool
	held    *hold
	names   map[string]*inode // as the system shows them
	synced  map[string]*inode // as the disk has them
	changes []change          // of the names, that are not synced
	ops     int
}

// change is a change of a name: to a file, or to none.
type change struct {
	name string
	to   *inode
	from string // of a rename: this name goes at the same moment
}

// inode is the content of a file.
type inode struct {
	cache, disk []byte       // as the system shows it, and as the disk has it
	dirty       map[int]bool // pages that are to be written
	resized     bool
}

// New returns an empty folder.
func New() *FS { return &FS{names: map[string]*inode{}, synced: map[string]*inode{}} }

// Ops returns how many operations have changed something, or tried to.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// enter begins an operation that changes something. The caller unlocks mu if there is no error.
func (f *FS) enter(op, name string) error {
	var err error
	if f.Before != nil {
		err = f.Before(op, name)
	}
	f.mu.Lock()
	f.ops++
	if f.off {
		err = ErrPower
	}
	if err != nil {
		f.mu.Unlock()
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// Kill ends the process that has the folder open. Its files stay as the system shows them.
func (f *FS) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = nil
}

// Off switches the power off: each operation fails from now on. The end of an operation at which the
// power fails is a call in Before, or after the operation.
func (f *FS) Off() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = true
}

// On switches the power off and on again. For each change that was not synced, survives decides whether
// the disk has it; it is asked in an order that depends only on the history.
func (f *FS) On(survives func() bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.changes {
		if survives() {
			c.apply(f.synced)
		}
	}
	f.changes, f.names = nil, f.synced
	f.synced = maps.Clone(f.names)
	for _, name := range slices.Sorted(maps.Keys(f.names)) {
		f.names[name].lose(survives)
	}
	f.off, f.held = false, nil
}

func (c change) apply(names map[string]*inode) {
	if c.from != "" {
		delete(names, c.from)
	}
	if c.to == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.to
	}
}

// lose makes the content what a loss of power leaves of it.
func (n *inode) lose(survives func() bool) {
	if n.resized && survives() {
		n.disk = resized(n.disk, int64(len(n.cache)))
	}
	for _, p := range slices.Sorted(maps.Keys(n.dirty)) {
		if survives() {
			n.persist(p)
		}
	}
	n.cache, n.dirty, n.resized = slices.Clone(n.disk), map[int]bool{}, false
}

// persist writes a page to the disk, as far as the file has it there.
func (n *inode) persist(page int) {
	from := page * PageBytes
	if from < min(len(n.cache), len(n.disk)) {
		copy(n.disk[from:min(from+PageBytes, len(n.disk))], n.cache[from:])
	}
}

func resized(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size:size]
	}
	return append(b[:len(b):len(b)], make([]byte, size-int64(len(b)))...)
}

// Evict drops pages that are clean from the system's memory: what the disk has is read from now on.
func (f *FS) Evict() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.names {
		for from := 0; from < min(len(n.cache), len(n.disk)); from += PageBytes {
			if !n.dirty[from/PageBytes] {
				copy(n.cache[from:min(from+PageBytes, len(n.cache))], n.disk[from:])
			}
		}
	}
}

// Flip inverts a bit of a file, on the disk and in memory.
func (f *FS) Flip(name string, bit int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.names[name]
	n.cache[bit/8] ^= 1 << (bit % 8)
	if bit/8 < int64(len(n.disk)) {
		n.disk[bit/8] ^= 1 << (bit % 8)
	}
}

// Read returns a copy of a file's content, as the system shows it, and nil if there is no such file.
func (f *FS) Read(name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.names[name]; n != nil {
		return slices.Clone(n.cache)
	}
	return nil
}

// Write makes a file with that content, as synced.
func (f *FS) Write(name string, content []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := &inode{cache: slices.Clone(content), disk: slices.Clone(content), dirty: map[int]bool{}}
	f.names[name], f.synced[name] = n, n
}

// Copy returns a folder with the content that the system shows, all of it synced.
func (f *FS) Copy() *FS {
	to := New()
	names, _ := f.List()
	for _, name := range names {
		to.Write(name, f.Read(name))
	}
	return to
}

type hold struct{ f *FS }

func (h *hold) Close() error {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if h.f.held == h {
		h.f.held = nil
	}
	return nil
}

func (f *FS) Lock() (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held != nil {
		return nil, journal.ErrInUse
	}
	f.held = &hold{f}
	return f.held, nil
}

func (f *FS) List() ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.off {
		return nil, ErrPower
	}
	return slices.Sorted(maps.Keys(f.names)), nil
}

func (f *FS) Create(name string, size int64) (journal.File, error) {
	if err := f.enter("create", name); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	if f.names[name] != nil {
		return nil, fs.ErrExist
	}
	if !f.fits(size) {
		return nil, syscall.ENOSPC
	}
	n := &inode{cache: make([]byte, size), dirty: map[int]bool{}, resized: size > 0}
	f.rename(change{name: name, to: n})
	return &file{f, n, name}, nil
}

// fits reports whether there is space for that many more bytes.
func (f *FS) fits(more int64) bool {
	used := int64(0)
	for _, n := range f.names {
		used += int64(len(n.cache))
	}
	return f.Space == 0 || used+more <= f.Space
}

func (f *FS) rename(c change) {
	c.apply(f.names)
	f.changes = append(f.changes, c)
}

func (f *FS) Open(name string) (journal.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.names[name]
	if n == nil || f.off {
		return nil, fs.ErrNotExist
	}
	return &file{f, n, name}, nil
}

func (f *FS) Rename(from, to string) error {
	if err := f.enter("rename", from); err != nil {
		return err
	}
	defer f.mu.Unlock()
	f.rename(change{name: to, to: f.names[from], from: from})
	return nil
}

func (f *FS) Remove(name string) error {
	if err := f.enter("remove", name); err != nil {
		return err
	}
	defer f.mu.Unlock()
	if f.names[name] == nil {
		return fs.ErrNotExist
	}
	f.rename(change{name: name})
	return nil
}

func (f *FS) Sync() error {
	if err := f.enter("sync folder", ""); err != nil {
		return err
	}
	defer f.mu.Unlock()
	f.synced, f.changes = maps.Clone(f.names), nil
	return nil
}

// file is an open file.
type file struct {
	f    *FS
	n    *inode
	name string
}

func (o *file) Close() error { return nil }

func (o *file) Size() (int64, error) {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	return int64(len(o.n.cache)), nil
}

func (o *file) ReadAt(b []byte, at int64) (int, error) {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	if o.f.off {
		return 0, ErrPower
	}
	if at >= int64(len(o.n.cache)) {
		return 0, io.EOF
	}
	n := copy(b, o.n.cache[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes as many whole pages as there is space for.
func (o *file) WriteAt(b []byte, at int64) (int, error) {
	if err := o.f.enter("write", o.name); err != nil {
		return 0, err
	}
	defer o.f.mu.Unlock()
	var err error
	if end := at + int64(len(b)); end > int64(len(o.n.cache)) {
		for !o.f.fits(end - int64(len(o.n.cache))) {
			if err = syscall.ENOSPC; end-PageBytes < max(at, int64(len(o.n.cache))) {
				return 0, err
			}
			end -= PageBytes
		}
		b = b[:end-at]
		o.n.cache, o.n.resized = resized(o.n.cache, end), true
	}
	copy(o.n.cache[at:], b)
	for p := at / PageBytes; p*PageBytes < at+int64(len(b)); p++ {
		o.n.dirty[int(p)] = true
	}
	return len(b), err
}

func (o *file) Truncate(size int64) error {
	if err := o.f.enter("truncate", o.name); err != nil {
		return err
	}
	defer o.f.mu.Unlock()
	o.n.cache, o.n.resized = resized(o.n.cache, size), true
	return nil
}

// Sync writes all pages that are dirty. If Before makes it fail, they are clean and not written.
func (o *file) Sync() error {
	err := o.f.enter("sync", o.name)
	if err != nil {
		o.f.mu.Lock()
	}
	defer o.f.mu.Unlock()
	if o.f.off {
		return err
	}
	if err == nil {
		o.n.disk = resized(o.n.disk, int64(len(o.n.cache)))
		for p := range o.n.dirty {
			o.n.persist(p)
		}
	}
	o.n.dirty, o.n.resized = map[int]bool{}, false
	return err
}
