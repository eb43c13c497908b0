package disk

import (
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
)

// Kind is a kind of call to an FS or a File.
type Kind string

// The kinds of calls. AnyCall stands for all of them.
const (
	AnyCall       Kind = ""
	CallCreate    Kind = "create"
	CallOpen      Kind = "open"
	CallRename    Kind = "rename"
	CallRemove    Kind = "remove"
	CallMkdir     Kind = "mkdir"
	CallList      Kind = "list"
	CallSyncDir   Kind = "sync directory"
	CallLock      Kind = "lock"
	CallSpace     Kind = "space"
	CallSub       Kind = "sub"
	CallRead      Kind = "read"
	CallWrite     Kind = "write"
	CallWriteSync Kind = "write and sync"
	CallSync      Kind = "sync"
	CallTruncate  Kind = "truncate"
	CallSize      Kind = "size"
	CallClose     Kind = "close" // of a file
)

// Fault says which call fails, and how.
type Fault struct {
	Kind    Kind  // AnyCall: whatever the kind
	N       int   // the N-th such call after Fail, from 1
	Err     error // what the call returns, as the cause of an *fs.PathError
	Forever bool  // those behind the N-th fail too
	Short   int   // of a write: so many bytes are written first, whole pages only
	Late    bool  // the call does its work, and only its answer is wrong
	Behind  bool  // of a WriteAt: it succeeds, and what it wrote is lost behind it, as told by the next Sync of its descriptor alone
}

// Call is one call that arrives at a Faulty.
type Call struct {
	Kind Kind
	Name string // as the caller gave it; of a file, as it was opened
}

// Faulty puts faults in the way to another FS. A flush that fails leaves a
// Mem below as Linux leaves a disk: with clean pages that never reached the
// platter. Safe for concurrent use.
type Faulty struct {
	fs FS
	s  *faults
}

// faults is what a Faulty and its Subs share.
type faults struct {
	mu     sync.Mutex
	counts map[Kind]int
	failed map[Kind]int
	total  int
	plan   []Fault
	base   map[Kind]int // counts when the plan was made
	hook   func(Call)
	asked  sync.WaitGroup // calls that hook is called for
}

var _ FS = (*Faulty)(nil)

// NewFaulty returns d without faults yet.
func NewFaulty(d FS) *Faulty {
	return &Faulty{fs: d, s: &faults{counts: map[Kind]int{}, failed: map[Kind]int{}, base: map[Kind]int{}}}
}

// Fail sets the faults that are to come, in place of those set before. Without
// arguments the disk is whole again.
func (f *Faulty) Fail(plan ...Fault) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.plan = slices.Clone(plan)
	clear(f.s.base)
	for k, n := range f.s.counts {
		f.s.base[k] = n
	}
	f.s.base[AnyCall] = f.s.total
}

// Count returns how many calls of a kind arrived, those that failed included.
func (f *Faulty) Count(k Kind) int {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if k == AnyCall {
		return f.s.total
	}
	return f.s.counts[k]
}

// Failed returns how many calls of each kind met a fault.
func (f *Faulty) Failed() map[Kind]int {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return maps.Clone(f.s.failed)
}

// OnCall has hook called before each call goes on, by the goroutine that makes
// it: what hook waits for, the call waits for. nil ends it, and waits until no
// hook is being called any more: what the hooks gathered may be read then.
func (f *Faulty) OnCall(hook func(Call)) {
	f.s.mu.Lock()
	f.s.hook = hook
	f.s.mu.Unlock()
	if hook == nil {
		f.s.asked.Wait()
	}
}

// arrive counts a call and returns the fault that it meets, or nil.
func (s *faults) arrive(k Kind, name string) *Fault {
	s.mu.Lock()
	s.counts[k]++
	s.total++
	hook := s.hook
	var hit *Fault
	for i := range s.plan {
		p := s.plan[i]
		if p.Kind != AnyCall && p.Kind != k {
			continue
		}
		n := s.counts[k]
		if p.Kind == AnyCall {
			n = s.total
		}
		n -= s.base[p.Kind]
		if n == p.N || p.Forever && n > p.N {
			hit = &p
			s.failed[k]++
			break
		}
	}
	if hook != nil {
		s.asked.Add(1)
	}
	s.mu.Unlock()
	if hook != nil {
		defer s.asked.Done()
		hook(Call{Kind: k, Name: name})
	}
	return hit
}

// do makes a call that returns nothing but an error.
func (s *faults) do(k Kind, name string, call func() error) error {
	hit := s.arrive(k, name)
	if hit == nil {
		return call()
	}
	if hit.Late {
		if err := call(); err != nil {
			return err
		}
	}
	return fail(string(k), name, hit.Err)
}

// get makes a call that returns something. What a failed call got is closed.
func get[T any](s *faults, k Kind, name string, call func() (T, error)) (got T, err error) {
	err = s.do(k, name, func() (err error) {
		got, err = call()
		return err
	})
	if err == nil {
		return got, nil
	}
	if c, ok := any(got).(io.Closer); ok {
		_ = c.Close()
	}
	var none T
	return none, err
}

func (f *Faulty) file(k Kind, name string, call func() (File, error)) (File, error) {
	got, err := get(f.s, k, name, call)
	if err != nil {
		return nil, err
	}
	return &faultyFile{f: got, s: f.s, name: name}, nil
}

// Create implements FS.
func (f *Faulty) Create(name string) (File, error) {
	return f.file(CallCreate, name, func() (File, error) { return f.fs.Create(name) })
}

// Open implements FS.
func (f *Faulty) Open(name string, write bool) (File, error) {
	return f.file(CallOpen, name, func() (File, error) { return f.fs.Open(name, write) })
}

// Rename implements FS.
func (f *Faulty) Rename(from, to string) error {
	return f.s.do(CallRename, from, func() error { return f.fs.Rename(from, to) })
}

// Remove implements FS.
func (f *Faulty) Remove(name string) error {
	return f.s.do(CallRemove, name, func() error { return f.fs.Remove(name) })
}

// Mkdir implements FS.
func (f *Faulty) Mkdir(name string) error {
	return f.s.do(CallMkdir, name, func() error { return f.fs.Mkdir(name) })
}

// List implements FS.
func (f *Faulty) List(name string) ([]Entry, error) {
	return get(f.s, CallList, name, func() ([]Entry, error) { return f.fs.List(name) })
}

// SyncDir implements FS.
func (f *Faulty) SyncDir(name string) error {
	return f.s.do(CallSyncDir, name, func() error { return f.fs.SyncDir(name) })
}

// Lock implements FS.
func (f *Faulty) Lock(name string) (io.Closer, error) {
	return get(f.s, CallLock, name, func() (io.Closer, error) { return f.fs.Lock(name) })
}

// Space implements FS.
func (f *Faulty) Space() (Space, error) {
	return get(f.s, CallSpace, "", f.fs.Space)
}

// Sub implements FS. The faults go on in the tree that it returns.
func (f *Faulty) Sub(name string) (FS, error) {
	sub, err := get(f.s, CallSub, name, func() (FS, error) { return f.fs.Sub(name) })
	if err != nil {
		return nil, err
	}
	return &Faulty{fs: sub, s: f.s}, nil
}

// Close implements FS. It is neither counted nor failed.
func (f *Faulty) Close() error { return f.fs.Close() }

// faultyFile is an open file of a Faulty.
type faultyFile struct {
	f    File
	s    *faults
	name string

	mu     sync.Mutex
	behind error // what the next Sync is to tell; see Fault.Behind
}

// lossy is a file that can do what a failed flush does to it.
type lossy interface{ failFlush(off, end int64) }

// ReadAt implements File.
func (f *faultyFile) ReadAt(p []byte, off int64) (n int, err error) {
	if hit := f.s.arrive(CallRead, f.name); hit != nil {
		return 0, fail(string(CallRead), f.name, hit.Err)
	}
	return f.f.ReadAt(p, off)
}

// WriteAt implements File.
func (f *faultyFile) WriteAt(p []byte, off int64) error {
	hit := f.s.arrive(CallWrite, f.name)
	if hit == nil {
		return f.f.WriteAt(p, off)
	}
	if l, ok := f.f.(lossy); ok && hit.Behind {
		if err := f.f.WriteAt(p, off); err != nil {
			return err
		}
		l.failFlush(off, off+int64(len(p)))
		f.mu.Lock()
		defer f.mu.Unlock()
		f.behind = fail(string(CallSync), f.name, hit.Err)
		return nil
	}
	return f.partly(hit, p, off)
}

// partly writes as much of p as a failing call does.
func (f *faultyFile) partly(hit *Fault, p []byte, off int64) error {
	n := min(hit.Short, len(p)) &^ (Align - 1)
	if hit.Late {
		n = len(p)
	}
	if n > 0 {
		if err := f.f.WriteAt(p[:n], off); err != nil {
			return err
		}
	}
	return fail(string(CallWrite), f.name, hit.Err)
}

// WriteSyncAt implements File. Where it fails at once, without Short, the
// bytes were taken and the flush failed; else they are left unflushed.
func (f *faultyFile) WriteSyncAt(p []byte, off int64) error {
	hit := f.s.arrive(CallWriteSync, f.name)
	if hit == nil {
		return f.f.WriteSyncAt(p, off)
	}
	if hit.Late {
		if err := f.f.WriteSyncAt(p, off); err != nil {
			return err
		}
		return fail(string(CallWriteSync), f.name, hit.Err)
	}
	if l, ok := f.f.(lossy); ok && hit.Short == 0 {
		if err := f.f.WriteAt(p, off); err != nil {
			return err
		}
		l.failFlush(off, off+int64(len(p)))
		return fail(string(CallWriteSync), f.name, hit.Err)
	}
	return f.partly(hit, p, off)
}

// Sync implements File.
func (f *faultyFile) Sync() error {
	hit := f.s.arrive(CallSync, f.name)
	f.mu.Lock()
	behind := f.behind
	f.behind = nil
	f.mu.Unlock()
	if hit == nil {
		return errors.Join(f.f.Sync(), behind)
	}
	if hit.Late {
		if err := f.f.Sync(); err != nil {
			return err
		}
	} else if l, ok := f.f.(lossy); ok {
		l.failFlush(0, 1<<62)
	}
	return fail(string(CallSync), f.name, hit.Err)
}

// Truncate implements File.
func (f *faultyFile) Truncate(size int64) error {
	return f.s.do(CallTruncate, f.name, func() error { return f.f.Truncate(size) })
}

// Size implements File.
func (f *faultyFile) Size() (int64, error) {
	return get(f.s, CallSize, f.name, f.f.Size)
}

// Close implements File. The descriptor is closed even where it fails.
func (f *faultyFile) Close() error {
	hit := f.s.arrive(CallClose, f.name)
	if err := f.f.Close(); err != nil || hit == nil {
		return err
	}
	return fail(string(CallClose), f.name, hit.Err)
}
