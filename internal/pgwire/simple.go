package pgwire

import (
	"bytes"
	"strconv"

	"holdfast/internal/fault"
)

// statement is one parsed statement. An INSERT in a simple query is run without
// becoming one.
type statement interface {
	// run does the statement and adds its answer, but for RowDescription.
	// p is the portal with the parameters, nil in a simple query.
	run(s *session, p *portal) error
}

// answering is a statement that returns rows.
type answering interface {
	// cells returns the columns; their texts are only valid when run.
	cells(s *session) ([]cell, error)
}

// insertOnly is the hint of most refusals.
const insertOnly = "Holdfast is insert-only: it takes INSERT and COPY ... FROM STDIN and delivers the rows to its sinks; read and change them in the sink's database"

// query answers a simple query: every statement in it, as one implicit
// transaction unless it says otherwise.
func (s *session) query(body []byte) error {
	if err := s.statements(body); err != nil {
		s.fail(err)
	} else if s.state == idle {
		s.settle()
	}
	return s.readyNow()
}

// statements runs the statements of a query up to the first error.
func (s *session) statements(body []byte) error {
	body, err := s.settings.text.utf8(body)
	if err != nil {
		return err
	}
	src, err := queryText(body)
	if err != nil {
		return err
	}
	p := &s.parser
	p.lexer, p.params = lexer{src: src}, 0
	for ran, sound := false, false; ; ran = true {
		for p.punct(';') {
			continue
		}
		if p.pos >= len(p.src) && p.unended == 0 {
			if !ran {
				s.bare('I')
			}
			return nil
		}
		s.srv.stats.statements.Add(1)
		if !s.onConsole && fold(p.word(), "insert") {
			if err := s.insertStatement(p); err != nil {
				return err
			}
			continue
		}
		st, err := s.parse(&p.lexer)
		if err != nil {
			return err
		}
		if endsBlocks(st) && !sound {
			if err := s.restParses(p); err != nil {
				return err
			}
			sound = true
		}
		if _, ok := st.(*copyStatement); ok {
			p.src = bytes.Clone(p.src) // its data is read over the query's text
		}
		if err := s.runSimple(st); err != nil {
			return err
		}
	}
}

// endsBlocks reports whether st begins or ends a transaction.
func endsBlocks(st statement) bool {
	_, ok := st.(*transactionStatement)
	return ok
}

// restParses looks for a syntax error in what is left of a query. PostgreSQL
// parses all of it before it runs anything, so that nothing is committed of one
// that cannot be parsed; here only a transaction's end could tell the difference.
func (s *session) restParses(p *valueParser) error {
	rest := valueParser{lexer: p.lexer}
	for {
		for rest.punct(';') {
			continue
		}
		if rest.pos >= len(rest.src) && rest.unended == 0 {
			return nil
		}
		var err error
		if !s.onConsole && fold(rest.word(), "insert") {
			err = rest.passInsert()
		} else {
			_, err = s.parse(&rest.lexer)
		}
		if fault.Code(err) == fault.SyntaxError {
			return err
		}
		if err != nil {
			return nil // it is no syntax error, and comes again in its turn
		}
	}
}

// passInsert reads over an INSERT.
func (p *valueParser) passInsert() error {
	if _, err := p.readTarget(); err != nil {
		return err
	}
	for {
		if err := p.row(); err != nil {
			return err
		}
		if !p.punct(',') {
			_, err := p.tail()
			return err
		}
	}
}

// queryText returns a query's text, which ends in its only NUL byte.
func queryText(body []byte) ([]byte, error) {
	n := len(body) - 1
	if n < 0 || body[n] != 0 {
		return nil, fault.New(fault.ProtocolViolation, "query has no end")
	}
	return body[:n], checkText(body[:n])
}

// insertStatement runs the INSERT that p stands at.
func (s *session) insertStatement(p *valueParser) error {
	if err := s.mayWrite("INSERT"); err != nil {
		return err
	}
	rows, err := s.insertNow(p)
	if err != nil {
		return err
	}
	s.completeRows("INSERT 0 ", rows)
	return nil
}

// mayWrite refuses rows in a block that has failed, or that is read-only.
func (s *session) mayWrite(what string) error {
	if s.state == failed {
		return errFailedBlock
	}
	if s.readOnly || s.settings.is("default_transaction_read_only", "on") && s.state == idle {
		return fault.New("25006", "cannot execute %s in a read-only transaction", what).
			WithHint("begin the transaction with READ WRITE")
	}
	return nil
}

var errFailedBlock = fault.New(fault.InFailedTransaction, "current transaction is aborted, commands ignored until end of transaction block").
	WithHint("send ROLLBACK")

// runSimple runs st in the simple protocol.
func (s *session) runSimple(st statement) error {
	if err := s.permitted(st); err != nil {
		return err
	}
	if c, ok := st.(*columnsOf); ok {
		return c.run(s, nil)
	}
	if a, ok := st.(answering); ok {
		cells, err := a.cells(s)
		if err != nil {
			return err
		}
		s.describe(cells, nil)
	}
	return st.run(s, nil)
}

// permitted lets nothing but the end of a failed block through.
func (s *session) permitted(st statement) error {
	if t, ok := st.(interface{ ends() bool }); s.state == failed && !(ok && t.ends()) {
		return errFailedBlock
	}
	return nil
}

// parse reads one statement that is not an INSERT, with its end.
func (s *session) parse(l *lexer) (statement, error) {
	if s.onConsole {
		return s.readConsole(l)
	}
	w := l.word()
	if w == nil {
		return nil, l.syntax()
	}
	if len(w) <= maxName {
		if read, ok := readers[lower(w)]; ok {
			return read(l, s)
		}
	}
	return nil, l.syntax()
}

// readers are the statements by their first word.
var readers map[string]func(*lexer, *session) (statement, error)

func init() { // not a literal, because the readers refer back to parse
	readers = map[string]func(*lexer, *session) (statement, error){
		"copy":       readCopy,
		"create":     readCreate,
		"select":     readSelect,
		"set":        readSet,
		"reset":      readReset,
		"show":       readShow,
		"discard":    readDiscard,
		"deallocate": readDeallocate,
		"close":      readClose,
		"unlisten":   readClose,
		"savepoint":  readSavepoint,
		"release":    readSavepoint,
	}
	for _, w := range []string{"begin", "start", "commit", "end", "rollback", "abort"} {
		readers[w] = readTransaction
	}
	for _, w := range []string{"update", "delete", "merge", "truncate", "drop", "alter", "with", "table", "values",
		"explain", "grant", "revoke", "comment", "vacuum", "analyze", "analyse", "cluster", "reindex", "lock", "call",
		"do", "declare", "fetch", "move", "listen", "notify", "prepare", "execute", "checkpoint", "load", "refresh",
		"import", "security", "reassign"} {
		readers[w] = refuse
	}
}

// refuse is the reader of what is refused by its first word.
func refuse(l *lexer, _ *session) (statement, error) {
	return nil, l.refuse("statement "+strconv.Quote(lower(l.word()))+" is not taken", insertOnly)
}

// done is a statement that only answers its tag.
type done string

func (d done) run(s *session, _ *portal) error {
	s.complete(string(d))
	return nil
}
