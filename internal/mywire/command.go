package mywire

import (
	"bytes"
	"errors"
	"strings"

	"holdfast/internal/fault"
)

// MySQL's commands.
const (
	comQuit      = 0x01
	comInitDB    = 0x02
	comQuery     = 0x03
	comPing      = 0x0e
	comPrepare   = 0x16
	comExecute   = 0x17
	comLongData  = 0x18
	comClose     = 0x19
	comReset     = 0x1a
	comSetOption = 0x1b
	comResetConn = 0x1f
)

// The server's status, as bits.
const (
	statusInTransaction = 1 << 0
	statusAutocommit    = 1 << 1
)

func (s *session) status() (n uint16) {
	if s.inTransaction() {
		n |= statusInTransaction
	}
	if s.autocommit {
		n |= statusAutocommit
	}
	return n
}

// ok puts an OK packet.
func (s *session) ok(affected, warnings uint64) {
	b := appendLength([]byte{0}, affected)
	b = append(b, 0) // no id was made
	b = appendNumber(b, uint64(s.status()), 2)
	s.in.put(appendNumber(b, warnings, 2))
}

// eof puts an EOF packet.
func (s *session) eof() {
	s.in.put(appendNumber([]byte{0xfe, 0, 0}, uint64(s.status()), 2))
}

// handle runs one command. What it returns ends the session.
func (s *session) handle(body []byte) error {
	if len(body) == 0 {
		return errMalformed
	}
	s.now = s.srv.o.Now()
	rest := body[1:]
	var err error
	switch body[0] {
	case comQuit:
		return errClosed
	case comPing:
		s.ok(0, 0)
	case comInitDB:
		err = s.use(string(rest))
	case comQuery:
		err = s.query(rest)
	case comPrepare:
		err = s.prepare(rest)
	case comExecute:
		err = s.execute(rest)
	case comLongData:
		s.longData(rest)
	case comClose:
		s.closeStatement(rest)
	case comReset:
		err = s.resetStatement(rest)
	case comResetConn:
		s.rollback()
		s.reset()
		s.ok(0, 0)
	case comSetOption:
		if err = notYet("more than one statement in one query is not taken", "send them one by one"); len(rest) > 0 && rest[0] == 1 {
			s.eof() // which turns it off
			err = nil
		}
	default:
		err = refuse(erUnknownCommand, "08S01", "Unknown command (hint: COM %d is not taken; %s)", body[0], insertOnly)
	}
	if errors.Is(err, errClosed) {
		return err
	}
	if err != nil {
		s.fail(err)
	}
	return nil
}

// use chooses a database. Tables are not kept apart by databases.
func (s *session) use(name string) error {
	if len(name) > maxUser {
		return refuse(1102, "42000", "Incorrect database name '%s'", clip([]byte(name)))
	}
	s.database = name
	s.expose()
	s.ok(0, 0)
	return nil
}

// query runs one statement.
func (s *session) query(src []byte) error {
	s.srv.stats.statements.Add(1)
	l := &lexer{src: runComment(src)}
	if err := l.space(); err != nil {
		return err
	}
	if l.pos == len(l.src) {
		return refuse(1065, "42000", "Query was empty")
	}
	if w := l.word(); fold(w, "insert") {
		return s.insertNow(l.src[l.pos:], nil, false)
	}
	return s.other(l)
}

// runComment takes a statement out of the comment that mysqldump puts it in.
func runComment(src []byte) []byte {
	t := bytes.TrimRight(bytes.TrimSpace(src), "; \t\r\n")
	inner, open := bytes.CutPrefix(t, []byte("/*!"))
	inner, closed := bytes.CutSuffix(inner, []byte("*/"))
	if !open || !closed || bytes.Contains(inner, []byte("*/")) {
		return src
	}
	return bytes.TrimLeft(inner, "0123456789")
}

// insertNow runs an INSERT, and answers once its rows are on disk, or within a
// transaction.
func (s *session) insertNow(src []byte, params []item, prepared bool) error {
	rows, err := s.insertText(src, params, prepared)
	if err != nil {
		return err
	}
	if s.autocommit && !s.block {
		if err := s.commit(); err != nil {
			return err
		}
	}
	s.ok(uint64(rows), 0)
	return nil
}

// other runs what is no INSERT.
func (s *session) other(l *lexer) error {
	at := l.pos
	w := strings.ToLower(string(l.word()))
	if read, ok := statements[w]; ok {
		l.pos += len(w)
		if err := l.space(); err != nil {
			return err
		}
		return read(s, l)
	}
	l.pos = at
	switch w {
	case "":
		return l.syntax()
	case "replace":
		return notYet("REPLACE is not taken", "rows are never updated; INSERT IGNORE leaves out rows whose key is there when a sink writes them")
	}
	return notHere(strings.ToUpper(w[:min(len(w), maxName)]))
}

// statements are what is taken besides INSERT, by its first word.
var statements map[string]func(*session, *lexer) error

func init() { // else it would depend on itself
	statements = map[string]func(*session, *lexer) error{
		"set": (*session).set, "use": (*session).useStatement, "select": (*session).choose, "show": (*session).show,
		"begin": (*session).begin, "start": (*session).begin, "commit": (*session).commitStatement, "rollback": (*session).rollbackStatement,
		"savepoint": (*session).savepoint, "release": (*session).release,
	}
}

// useStatement reads "USE db".
func (s *session) useStatement(l *lexer) error {
	n, err := l.name()
	if err != nil {
		return err
	}
	if err := l.end(); err != nil {
		return err
	}
	return s.use(n)
}

// point is one savepoint: how many rows the transaction had.
type point struct {
	name string
	rows int
}

// maxPoints bounds the savepoints of one transaction.
const maxPoints = 10_000

// begin reads "BEGIN [WORK]" and "START TRANSACTION ...". An open transaction
// is committed, as in MySQL.
func (s *session) begin(l *lexer) error {
	readOnly := false
	if !l.keyword("work") && l.keyword("transaction") {
		for {
			switch {
			case l.keywords("read", "only"):
				readOnly = true
			case l.keywords("read", "write"), l.keywords("with", "consistent", "snapshot"):
			}
			if !l.punct(',') {
				break
			}
		}
	}
	if err := l.end(); err != nil {
		return err
	}
	if err := s.commit(); err != nil {
		return err
	}
	s.block, s.readOnly = true, readOnly
	s.ok(0, 0)
	return nil
}

func (s *session) commitStatement(l *lexer) error   { return s.end(l, true) }
func (s *session) rollbackStatement(l *lexer) error { return s.end(l, false) }

// end reads what is behind COMMIT and ROLLBACK.
func (s *session) end(l *lexer, commits bool) error {
	l.keyword("work")
	if !commits && l.keyword("to") {
		return s.backTo(l)
	}
	if l.keyword("and") && (!l.keyword("no") || !l.keyword("chain")) {
		return notYet("AND CHAIN is not taken", "send START TRANSACTION")
	}
	if l.keyword("no") && !l.keyword("release") || fold(l.word(), "release") {
		return notYet("RELEASE is not taken", "close the connection")
	}
	if err := l.end(); err != nil {
		return err
	}
	if !commits {
		s.rollback()
	} else if err := s.commit(); err != nil {
		return err
	}
	s.ok(0, 0)
	return nil
}

func (s *session) findPoint(name string) int {
	for i := len(s.points) - 1; i >= 0; i-- {
		if strings.EqualFold(s.points[i].name, name) {
			return i
		}
	}
	return -1
}

func noPoint(name string) error {
	return refuse(erNoSavepoint, "42000", "SAVEPOINT %s does not exist", clip([]byte(name)))
}

// backTo reads "[SAVEPOINT] name" behind ROLLBACK TO.
func (s *session) backTo(l *lexer) error {
	l.keyword("savepoint")
	n, err := l.name()
	if err != nil {
		return err
	}
	if err := l.end(); err != nil {
		return err
	}
	at := s.findPoint(n)
	if at < 0 {
		return noPoint(n)
	}
	if s.tx != nil {
		if err := s.tx.RollbackTo(s.points[at].rows); err != nil {
			s.rollback()
			return err
		}
	}
	s.points = s.points[:at+1]
	s.ok(0, 0)
	return nil
}

// savepoint reads the name behind SAVEPOINT. One of the same name goes.
func (s *session) savepoint(l *lexer) error {
	n, err := l.name()
	if err != nil {
		return err
	}
	if err := l.end(); err != nil {
		return err
	}
	if s.block || !s.autocommit { // else there is no transaction that it could be of
		if at := s.findPoint(n); at >= 0 {
			s.points = append(s.points[:at], s.points[at+1:]...)
		}
		if len(s.points) == maxPoints {
			return fault.New(fault.LimitExceeded, "a transaction has more than %d savepoints", maxPoints).WithHint("release those that are not needed")
		}
		s.points = append(s.points, point{n, s.rows()})
	}
	s.ok(0, 0)
	return nil
}

// release reads "SAVEPOINT name" behind RELEASE.
func (s *session) release(l *lexer) error {
	if !l.keyword("savepoint") {
		return l.syntax()
	}
	n, err := l.name()
	if err != nil {
		return err
	}
	if err := l.end(); err != nil {
		return err
	}
	at := s.findPoint(n)
	if at < 0 {
		return noPoint(n)
	}
	s.points = s.points[:at]
	s.ok(0, 0)
	return nil
}
