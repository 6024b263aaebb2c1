package journal

import "io"

const cipherBytes = 16 // that encryption adds to a body

// writer is a file that this life writes.
type writer struct {
	stored
	file File
	at   int64 // where the next frame goes
	size int64 // that was set aside
}

// create makes a file with its header. The content and the name are not synced yet.
func (l *Log) create(k, end kind, size int64, first uint64) (*writer, error) {
	w := &writer{size: size, at: headerBytes}
	w.bytes = size
	l.mu.Lock()
	l.number++
	w.number = l.number
	w.header = header{kind: k, life: l.life, start: l.start, first: first, durable: l.durable}
	_, err := io.ReadFull(l.o.Random, w.salt[:])
	l.mu.Unlock()
	w.name = fileName(w.number, end)
	if err != nil {
		return nil, failed("draw a salt for", w.name, err)
	}
	var key *Key
	if len(l.o.Keys) > 0 {
		key = &l.o.Keys[0]
		w.key = key.ID()
	}
	w.form = w.header.form(key)
	if w.file, err = l.fs.Create(w.name, size); err != nil {
		return nil, failed("create", w.name, err)
	}
	page := w.page()
	if _, err := w.file.WriteAt(append(page, page...), 0); err != nil {
		w.discard(l.fs)
		return nil, failed("write", w.name, err)
	}
	return w, nil
}

// write writes frames that were made for this place.
func (w *writer) write(packed []byte) error {
	if _, err := w.file.WriteAt(packed, w.at); err != nil {
		return failed("write", w.name, err)
	}
	w.at += int64(len(packed))
	return nil
}

func (w *writer) sync() error { return failed("sync", w.name, w.file.Sync()) }

// end gives back the space that is left over, and syncs and closes the file.
func (w *writer) end() error {
	if w.at < w.size {
		if err := w.file.Truncate(w.at); err != nil {
			return failed("truncate", w.name, err)
		}
	}
	if err := w.sync(); err != nil {
		return err
	}
	return failed("close", w.name, w.file.Close())
}

// discard removes a file that is of no use. A file that stays all the same does no harm.
func (w *writer) discard(fs FS) {
	w.file.Close()
	_ = fs.Remove(w.name)
}
