package pgwire

import (
	"maps"

	"holdfast/internal/fault"
)

// point is one savepoint: how many rows the block had, and what was set.
type point struct {
	name       string
	rows       int
	set, local map[string]string // not changed any more
	kept       int               // bytes that they take, with those of savepoints before
	readOnly   bool
}

// maxPoints bounds the savepoints of one block, maxPointSettings the bytes that
// settings may have to be kept for them.
const (
	maxPoints        = 10_000
	maxPointSettings = 64 << 10
	pointsKept       = 16 // room for as many is kept between blocks
)

// pointStatement is SAVEPOINT, RELEASE and ROLLBACK TO.
type pointStatement struct {
	verb byte // 's' savepoint, 'f' forget it, 'b' go back to it
	what string
	name string
}

func (st *pointStatement) ends() bool { return st.verb == 'b' }

// readSavepoint reads SAVEPOINT name and RELEASE [SAVEPOINT] name.
func readSavepoint(l *lexer, _ *session) (statement, error) {
	st := &pointStatement{verb: 's', what: "SAVEPOINT"}
	if l.keyword("release") {
		st.verb, st.what = 'f', "RELEASE SAVEPOINT"
	}
	return st, st.read(l)
}

// backTo reads what is behind ROLLBACK TO.
func backTo(l *lexer) (statement, error) {
	st := &pointStatement{verb: 'b', what: "ROLLBACK TO SAVEPOINT"}
	return st, st.read(l)
}

// read reads [SAVEPOINT] name. The word is no reserved one, so that it may be
// the name itself.
func (st *pointStatement) read(l *lexer) (err error) {
	if again := *l; again.keyword("savepoint") {
		if st.verb == 's' || !again.end() {
			*l = again
		}
	}
	if st.name, err = l.name(); err != nil {
		return err
	}
	return l.wantEnd()
}

func (st *pointStatement) run(s *session, _ *portal) error {
	if s.state == idle {
		return fault.New(fault.NoActiveTransaction, "%s can only be used in transaction blocks", st.what).WithHint("send BEGIN first")
	}
	if st.verb == 's' {
		if err := s.addPoint(st.name); err != nil {
			return err
		}
		s.complete("SAVEPOINT")
		return nil
	}
	at := len(s.points) - 1
	for at >= 0 && s.points[at].name != st.name {
		at--
	}
	switch {
	case at < 0:
		return fault.New("3B001", "savepoint %q does not exist", st.name).WithHint("it was never made, or went with one before it")
	case st.verb == 'f':
		s.points = s.points[:at]
		s.complete("RELEASE")
		return nil
	}
	s.points = s.points[:at+1]
	if err := s.backToPoint(); err != nil {
		return err
	}
	s.state, s.readOnly = inBlock, s.points[at].readOnly
	for _, name := range s.settings.back(s.points[at].set, s.points[at].local) {
		s.parameter(name)
	}
	s.complete("ROLLBACK")
	return nil
}

// addPoint notes how the block is now.
func (s *session) addPoint(name string) error {
	if len(s.points) == maxPoints {
		return fault.New(fault.LimitExceeded, "a transaction has more than %d savepoints", maxPoints).WithHint("release those that are not needed")
	}
	p := point{name: name, set: s.settings.set, local: s.settings.local, readOnly: s.readOnly}
	if s.tx != nil {
		p.rows = s.tx.Rows()
	}
	if n := len(s.points); n > 0 {
		last := s.points[n-1]
		p.kept = last.kept
		if maps.Equal(p.set, last.set) && maps.Equal(p.local, last.local) {
			p.set, p.local = last.set, last.local
		} else {
			p.kept += sizeOf(p.set) + sizeOf(p.local)
		}
	}
	if p.kept > maxPointSettings {
		return fault.New(fault.LimitExceeded, "settings of more than %d bytes are kept for savepoints", maxPointSettings).
			WithHint("change fewer parameters between savepoints")
	}
	s.points = append(s.points, p)
	return nil
}

// sizeOf returns about how many bytes settings take.
func sizeOf(m map[string]string) (n int) {
	for name, value := range m {
		n += len(name) + len(value) + 64
	}
	return n
}

// forgetPoints is called at the block's end.
func (s *session) forgetPoints() {
	if s.points = s.points[:0]; cap(s.points) > pointsKept {
		s.points = nil
	}
	clear(s.points[:cap(s.points)])
}

// backToPoint drops the rows behind the last savepoint, or all where there is
// none.
func (s *session) backToPoint() error {
	if s.tx == nil {
		return nil
	}
	rows := 0
	if n := len(s.points); n > 0 {
		rows = s.points[n-1].rows
	}
	return s.tx.RollbackTo(rows)
}
