package flat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"holdfast/row"
	"holdfast/sink/local"
)

const (
	// maxFiles is how many files the state remembers. Those that were not
	// written to for the longest time are forgotten first; one that is written
	// to again is taken as it then is.
	maxFiles = 2000

	// tailBytes is how much in front of a file's recorded end proves that it is
	// that file, even if its inode was given to another one meanwhile.
	tailBytes = 1024
)

// book is the state with what this sink keeps in it.
type book struct {
	state *local.State
	extra *extra
	lock  *local.Lock // under which it is used
}

// extra is what the state tells besides cursors.
type extra struct {
	Generation uint64              `json:"generation"` // rises with each write
	Files      map[string]*entry   `json:"files"`      // by name
	Tables     map[string][]string `json:"tables"`     // columns, in the order of the fields
}

// entry says how far a file is good.
type entry struct {
	Inode   uint64 `json:"inode"`
	Size    int64  `json:"size"`
	Tail    uint32 `json:"tail"`    // CRC32C of up to tailBytes in front of Size
	Began   int64  `json:"began"`   // time of receipt of the first row written to it, microseconds
	Written uint64 `json:"written"` // the generation that wrote to it last
}

func (s *Sink) load() (*book, error) {
	st, err := s.store.Load()
	if err != nil {
		return nil, err
	}
	x := &extra{}
	if st.Extra != nil {
		if err := json.Unmarshal(st.Extra, x); err != nil {
			return nil, fmt.Errorf("read state: %w", err)
		}
	}
	if x.Files == nil {
		x.Files = map[string]*entry{}
	}
	if x.Tables == nil {
		x.Tables = map[string][]string{}
	}
	return &book{state: st, extra: x}, nil
}

// write puts b on disk, in place of what was there.
func (s *Sink) write(b *book) (err error) {
	b.extra.Generation++
	b.extra.forget()
	if b.state.Extra, err = json.Marshal(b.extra); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return s.store.Replace(b.state)
}

// forget drops the files that were not written to for the longest time. All of
// a batch that is under way stay, since their ends must be known.
func (x *extra) forget() {
	if len(x.Files) <= maxFiles {
		return
	}
	names := make([]string, 0, len(x.Files))
	for name, e := range x.Files {
		if e.Written < x.Generation-1 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return int(x.Files[a].Written) - int(x.Files[b].Written) })
	for _, name := range names[:min(len(names), len(x.Files)-maxFiles)] {
		delete(x.Files, name)
	}
}

// recover makes every file what the state says it is, and the files that tell
// columns too. Files that are open are closed, since an error may have left
// their descriptors telling lies.
func (s *Sink) recover(x *extra) error {
	if err := s.closeFiles(); err != nil {
		return fmt.Errorf("close files before looking at them: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(x.Files)) {
		keep, err := s.cutBack(name, x.Files[name])
		if err != nil {
			return fmt.Errorf("cut file %q back to what was committed: %w", name, err)
		}
		if !keep {
			delete(x.Files, name)
		}
	}
	for table := range x.Tables {
		if err := s.tellColumns(x, table); err != nil {
			return err
		}
	}
	return nil
}

// cutBack cuts what was not committed off the file that e was written for,
// wherever in its directory that is now. keep says whether name is still its
// name. A file that is not certainly that one is left as it is.
func (s *Sink) cutBack(name string, e *entry) (keep bool, err error) {
	ino, size, err := s.dir.Stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err == nil && ino == e.Inode {
		if size < e.Size {
			s.opts.Log.Warn("flat file was truncated by another program; rows go on at its end", "file", name, "size", size, "recorded", e.Size)
			return false, nil
		}
		return s.cut(name, e)
	}
	now, err := s.dir.Find(path.Dir(name), e.Inode)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now == "" {
		s.opts.Log.Info("flat file is gone; rows go on in a new one", "file", name)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// With no bytes in front of its end nothing proves which file it is but
	// its name; rotation adds to that.
	if e.Size == 0 && !strings.HasPrefix(now, name) {
		return false, nil
	}
	s.opts.Log.Info("flat file was renamed; rows go on in a new one", "file", name, "now", now)
	_, err = s.cut(now, e)
	return false, err
}

// cut cuts the file called name to the end that e records, if it is that file.
func (s *Sink) cut(name string, e *entry) (same bool, err error) {
	f, err := s.dir.Open(name)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil || size < e.Size {
		return false, err
	}
	tail, err := tailSum(f, e.Size)
	if err != nil {
		return false, err
	}
	if f.Inode() != e.Inode || tail != e.Tail {
		s.opts.Log.Warn("flat file was written anew by another program; rows go on at its end", "file", name, "size", size, "recorded", e.Size)
		return false, nil
	}
	if size == e.Size {
		return true, nil
	}
	s.opts.Log.Info("cut uncommitted bytes off flat file; their rows come again", "file", name, "bytes", size-e.Size, "size", e.Size)
	return true, f.Truncate(e.Size)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// tailSum returns the checksum of the bytes in front of size.
func tailSum(f *local.File, size int64) (uint32, error) {
	tail := make([]byte, min(size, tailBytes))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return 0, err
	}
	return crc32.Checksum(tail, castagnoli), nil
}

// tellColumns writes the file that says what the fields of table's lines are,
// where it does not say so yet.
func (s *Sink) tellColumns(x *extra, table string) error {
	var text []byte
	for _, c := range x.Tables[table] {
		text = append(row.AppendFlat(text, []row.Value{row.Text(c)}), '\n')
	}
	name := s.names.companion(table)
	have, err := s.dir.ReadFile(name, int64(len(text)))
	if err == nil && bytes.Equal(have, text) {
		return nil
	}
	if _, err := s.dir.Replace(name, text, s.opts.Mode); err != nil {
		return fmt.Errorf("write columns of table %q: %w", table, err)
	}
	return nil
}
