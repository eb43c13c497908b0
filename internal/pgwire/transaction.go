package pgwire

import (
	"strings"

	"holdfast/internal/fault"
)

// transactionStatement begins or ends a block.
type transactionStatement struct {
	verb     byte // 'b' begin, 'c' commit, 'r' rollback
	tag      string
	chain    bool
	readOnly bool
}

func (t *transactionStatement) ends() bool { return t.verb != 'b' }

func readTransaction(l *lexer, _ *session) (statement, error) {
	t := new(transactionStatement)
	w := lower(l.word())
	at := l.pos
	l.pos += len(w)
	switch w {
	case "start":
		if !l.keyword("transaction") {
			return nil, l.syntax()
		}
		t.verb, t.tag = 'b', "START TRANSACTION"
		return t, t.options(l)
	case "begin":
		t.verb, t.tag = 'b', "BEGIN"
	case "commit", "end":
		t.verb, t.tag = 'c', "COMMIT"
	default:
		t.verb, t.tag = 'r', "ROLLBACK"
	}
	if fold(l.word(), "prepared") {
		l.pos = at
		return nil, l.refuse("two-phase commit is not taken", insertOnly)
	}
	if !l.keyword("work") {
		l.keyword("transaction")
	}
	if t.verb == 'b' {
		return t, t.options(l)
	}
	if t.verb == 'r' && w != "abort" && l.keyword("to") {
		return backTo(l)
	}
	if l.keyword("and") {
		t.chain = !l.keyword("no")
		if !l.keyword("chain") {
			return nil, l.syntax()
		}
	}
	return t, l.wantEnd()
}

// options reads transaction modes. There is nothing to read here, so every
// isolation level holds by itself.
func (t *transactionStatement) options(l *lexer) error {
	for {
		switch {
		case l.keywords("isolation", "level"):
			if !l.keyword("serializable") && !l.keywords("repeatable", "read") &&
				!l.keywords("read", "committed") && !l.keywords("read", "uncommitted") {
				return l.syntax()
			}
		case l.keywords("read", "only"):
			t.readOnly = true
		case l.keywords("read", "write"):
			t.readOnly = false
		case l.keywords("not", "deferrable"), l.keyword("deferrable"):
		default:
			return l.wantEnd()
		}
		l.punct(',')
	}
}

func (t *transactionStatement) run(s *session, _ *portal) error {
	switch {
	case t.verb == 'b':
		if s.state == inBlock {
			s.notice("WARNING", fault.ActiveTransaction, "there is already a transaction in progress")
		} else {
			s.state, s.unsettled = inBlock, -1
			s.readOnly = t.readOnly || s.settings.is("default_transaction_read_only", "on")
		}
		s.complete(t.tag)
		return nil
	case s.state == idle:
		s.notice("WARNING", fault.NoActiveTransaction, "there is no transaction in progress")
	}
	return t.finish(s)
}

// finish ends the block. A COMMIT of a failed block is a ROLLBACK, and says so.
func (t *transactionStatement) finish(s *session) error {
	readOnly, tag := s.readOnly, t.tag
	if t.verb == 'c' && s.state != failed {
		if err := s.commit(); err != nil {
			// The block is over, whether its rows are stored or not.
			s.endTx(false)
			return err
		}
		s.endTx(true)
	} else {
		s.endTx(false)
		tag = "ROLLBACK"
	}
	s.complete(tag)
	s.unsettled = -1
	if t.chain {
		s.state, s.readOnly = inBlock, readOnly
	}
	return nil
}

// readDiscard reads DISCARD ALL and its parts.
func readDiscard(l *lexer, _ *session) (statement, error) {
	l.keyword("discard")
	for _, w := range []string{"all", "plans", "sequences", "temp", "temporary"} {
		if l.keyword(w) {
			return discard(strings.TrimSuffix(w, "orary")), l.wantEnd()
		}
	}
	return nil, l.syntax()
}

type discard string

func (d discard) run(s *session, _ *portal) error {
	if d == "all" {
		if s.state != idle || s.tx != nil && s.tx.Rows() > 0 {
			return fault.New(fault.ActiveTransaction, "DISCARD ALL cannot run inside a transaction block")
		}
		s.deallocateAll()
		clear(s.portals)
		s.resetAll()
	}
	s.complete("DISCARD " + strings.ToUpper(string(d)))
	return nil
}

// readClose reads CLOSE ALL and UNLISTEN *, which pools send to clean a
// session; there are neither cursors nor channels.
func readClose(l *lexer, _ *session) (statement, error) {
	if l.keyword("unlisten") {
		if !l.punct('*') {
			if _, err := l.name(); err != nil {
				return nil, err
			}
		}
		return done("UNLISTEN"), l.wantEnd()
	}
	l.keyword("close")
	if !l.keyword("all") {
		return nil, l.refuse("there are no cursors", insertOnly)
	}
	return done("CLOSE CURSOR ALL"), l.wantEnd()
}

// readDeallocate reads DEALLOCATE [PREPARE] name | ALL.
func readDeallocate(l *lexer, _ *session) (statement, error) {
	l.keyword("deallocate")
	l.keyword("prepare")
	if l.keyword("all") {
		return deallocate{all: true}, l.wantEnd()
	}
	n, err := l.name()
	if err != nil {
		return nil, err
	}
	return deallocate{name: n}, l.wantEnd()
}

type deallocate struct {
	name string
	all  bool
}

func (d deallocate) run(s *session, _ *portal) error {
	if d.all {
		s.deallocateAll()
		s.complete("DEALLOCATE ALL")
		return nil
	}
	if s.prepared[d.name] == nil {
		return unknownStatement(d.name)
	}
	s.closeStatement(d.name)
	s.complete("DEALLOCATE")
	return nil
}
