package deliver

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// memRejects is a store of rejects in memory, whose faults are decided by the
// test.
type memRejects struct {
	mu     sync.Mutex
	list   []Reject
	keeps  int
	budget int // 0: none

	// fault is asked at each step; what it returns happens. If nil, nothing does.
	fault func(step string) error
}

const (
	stepKeep = "keep" // some of them are on disk
	stepKept = "kept"
)

var errDisk = errors.New("input/output error")

func (m *memRejects) Keep(_ context.Context, rejects []Reject) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keeps++
	var err error
	if m.fault != nil {
		err = m.fault(stepKeep)
	}
	if err != nil {
		rejects = rejects[:len(rejects)/2]
	}
	for _, r := range rejects {
		if slices.ContainsFunc(m.list, func(have Reject) bool { return have.Row.Seq == r.Row.Seq && have.Sink == r.Sink }) {
			continue
		}
		if m.budget > 0 && len(m.list) >= m.budget {
			return ErrBudget
		}
		m.list = append(m.list, r)
	}
	return err
}

func (m *memRejects) Kept(_ context.Context, streamID, name string, from uint64) (seqs []uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		err = m.fault(stepKept)
	}
	for _, r := range m.list {
		if r.StreamID == streamID && r.Sink == name && r.Row.Seq >= from {
			seqs = append(seqs, r.Row.Seq)
		}
	}
	return seqs, err
}

// seqs returns which rows are kept, in order.
func (m *memRejects) seqs() (seqs []uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.list {
		seqs = append(seqs, r.Row.Seq)
	}
	slices.Sort(seqs)
	return seqs
}
