package mywire

import (
	"math"
	"slices"
	"strconv"

	"holdfast/internal/fault"
)

const (
	maxStatements = 1024    // prepared, of one session
	maxHeld       = 4 << 20 // bytes of their texts and of long data, of one session
	maxParams     = 1<<16 - 1
)

// prepared is a statement with question marks.
type prepared struct {
	src    []byte
	params int
	insert bool
	types  []byte // two bytes for each parameter, as they were sent last
	long   map[int][]byte
	failed error // of long data, which has no answer
}

// prepare reads a statement and answers with its number.
func (s *session) prepare(src []byte) error {
	s.srv.stats.statements.Add(1)
	switch {
	case len(s.statements) >= maxStatements:
		return refuse(erTooManyPrepared, "42000", "Can't create more than %d prepared statements in one connection (hint: close those that are not needed)", maxStatements)
	case s.held+len(src) > maxHeld:
		return fault.New(fault.LimitExceeded, "prepared statements of one connection have more than %d bytes", maxHeld).WithHint("close those that are not needed")
	}
	src = runComment(src)
	l := &lexer{src: src}
	if err := l.space(); err != nil {
		return err
	}
	p := &prepared{insert: fold(l.word(), "insert")}
	if p.insert {
		params, err := s.prepareInsert(src[l.pos:])
		if err != nil {
			return err
		}
		p.params = params
	}
	p.src = append([]byte(nil), src[l.pos:]...)
	var columns []column
	if !p.insert {
		res, err := s.ask(&lexer{src: p.src})
		if err != nil {
			return err
		}
		if res != nil {
			columns = res.columns
		}
	}
	s.held += len(p.src)
	s.lastStmt++
	s.statements[s.lastStmt] = p
	b := appendNumber([]byte{0}, uint64(s.lastStmt), 4)
	b = appendNumber(b, uint64(len(columns)), 2)
	b = appendNumber(b, uint64(p.params), 2)
	s.in.put(append(b, 0, 0, 0))
	for range p.params {
		s.in.put(column{name: "?", kind: typeString}.packet())
	}
	if p.params > 0 {
		s.eof()
	}
	for _, c := range columns {
		s.in.put(c.packet())
	}
	if len(columns) > 0 {
		s.eof()
	}
	return nil
}

// prepareInsert sees that an INSERT is understood, and that its table and
// columns are known where they must be, and returns the number of question
// marks.
func (s *session) prepareInsert(src []byte) (int, error) {
	in := &insertion{lexer: lexer{src: src}, s: s, mixed: true}
	if err := in.head(); err != nil {
		return 0, err
	}
	width := 0
	if err := in.rows(func(int) error { width = len(in.items); return nil }); err != nil {
		return 0, err
	}
	if in.marks > maxParams {
		return 0, refuse(1390, "HY000", "Prepared statement contains too many placeholders")
	}
	if err := s.srv.o.Access.Policy().Allow(s.who, in.table); err != nil {
		return 0, err
	}
	columns, err := s.columns(in, width)
	if err == nil && !s.srv.o.Store.AutoTables() {
		_, err = s.srv.o.Store.Schema(in.table, columns)
	}
	return in.marks, err
}

// find returns the statement whose number a packet begins with.
func (s *session) find(r *reader, verb string) (*prepared, error) {
	n := uint32(r.number(4))
	p := s.statements[n]
	if p == nil {
		return nil, refuse(erUnknownHandler, "HY000", "Unknown prepared statement handler (%d) given to %s", n, verb)
	}
	return p, nil
}

// execute runs a prepared statement.
func (s *session) execute(body []byte) error {
	s.srv.stats.statements.Add(1)
	r := &reader{b: body}
	p, err := s.find(r, "mysql_stmt_execute")
	if err != nil {
		return err
	}
	defer s.forgetLong(p)
	if r.number(1) != 0 {
		return notYet("cursors are not taken", "fetch the result at once")
	}
	r.number(4) // how often: once
	if p.failed != nil {
		return p.failed
	}
	params, err := p.read(r)
	if err != nil {
		return err
	}
	if p.insert {
		return s.insertNow(p.src, params, true)
	}
	l := &lexer{src: p.src}
	res, err := s.ask(l)
	switch {
	case err != nil:
		return err
	case res != nil:
		s.send(res, true)
		return nil
	}
	return s.other(l)
}

// read reads the parameters. Their types come with the first execution, and
// hold until others come.
func (p *prepared) read(r *reader) ([]item, error) {
	params := make([]item, p.params)
	if p.params == 0 {
		return params, nil
	}
	nulls := r.bytes(uint64(p.params+7) / 8)
	if r.number(1) == 1 {
		types := r.bytes(uint64(2 * p.params))
		if r.bad {
			return nil, errMalformed
		}
		p.types = slices.Clone(types)
	}
	if r.bad || p.types == nil {
		return nil, errMalformed
	}
	for i := range params {
		if long, ok := p.long[i]; ok {
			params[i] = item{kind: itemText, text: long}
			continue
		}
		if nulls[i/8]&(1<<(i%8)) != 0 {
			continue // the zero item is NULL
		}
		var err error
		if params[i], err = r.param(p.types[2*i], p.types[2*i+1]&0x80 != 0); err != nil {
			return nil, err
		}
	}
	if r.bad || len(r.b) > 0 {
		return nil, errMalformed
	}
	return params, nil
}

// MySQL's types that parameters and columns have.
const (
	typeTiny      = 1
	typeShort     = 2
	typeLong      = 3
	typeFloat     = 4
	typeDouble    = 5
	typeNull      = 6
	typeTimestamp = 7
	typeLongLong  = 8
	typeInt24     = 9
	typeDate      = 10
	typeTime      = 11
	typeDatetime  = 12
	typeYear      = 13
	typeDecimal   = 0xf6
	typeString    = 0xfd
)

// integerSize is how many bytes each type of whole numbers has.
var integerSize = map[byte]int{typeTiny: 1, typeShort: 2, typeYear: 2, typeLong: 4, typeInt24: 4, typeLongLong: 8}

// param reads one parameter in its binary form.
func (r *reader) param(kind byte, unsigned bool) (it item, err error) {
	switch kind {
	case typeNull:
		return it, nil
	case typeFloat:
		return floating(float64(math.Float32frombits(uint32(r.number(4)))), 32)
	case typeDouble:
		return floating(math.Float64frombits(r.number(8)), 64)
	case typeDate, typeDatetime, typeTimestamp:
		it.kind = itemText
		it.text = r.date()
	case typeTime:
		it.kind = itemText
		it.text = r.clock()
	case 0, typeDecimal:
		it.kind = itemNumber
		it.text = r.text()
		l := &lexer{src: it.text}
		if n, err := l.number(); err != nil || l.pos != len(it.text) || len(n) == 0 {
			return it, fault.New(fault.InvalidTextRepr, "incorrect decimal value: '%s'", clip(it.text))
		}
	case 0x0f, 0x10, 0xf5, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe: // strings, JSON and blobs
		it.kind = itemText
		it.text = r.text()
	default:
		size, ok := integerSize[kind]
		if !ok {
			return it, notYet("parameters of type "+strconv.Itoa(int(kind))+" are not taken", "send them as text")
		}
		n := r.number(size)
		it.kind = itemNumber
		if unsigned {
			it.text = strconv.AppendUint(nil, n, 10)
		} else {
			shift := 64 - 8*size
			it.text = strconv.AppendInt(nil, int64(n<<shift)>>shift, 10)
		}
	}
	if r.bad {
		return it, errMalformed
	}
	return it, nil
}

// floating returns a number as text that reads back as the same number.
func floating(f float64, bits int) (item, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return item{}, fault.New(fault.NumberOutOfRange, "a number is %v", f).WithHint("send NULL for what is no number")
	}
	return item{kind: itemNumber, text: strconv.AppendFloat(nil, f, 'g', -1, bits)}, nil
}

// longData takes a piece of a parameter. It has no answer: what is wrong is
// told when the statement is executed.
func (s *session) longData(body []byte) {
	r := &reader{b: body}
	p, err := s.find(r, "mysql_stmt_send_long_data")
	if err != nil {
		return
	}
	n := int(r.number(2))
	switch {
	case r.bad || n >= p.params:
		p.failed = errMalformed
	case s.held+len(r.b) > maxHeld:
		p.failed = fault.New(fault.LimitExceeded, "long data of one connection has more than %d bytes", maxHeld).
			WithHint("send the value with the statement")
	case p.failed == nil:
		if p.long == nil {
			p.long = make(map[int][]byte)
		}
		p.long[n] = append(p.long[n], r.b...)
		s.held += len(r.b)
	}
}

// forgetLong drops what came for the parameters.
func (s *session) forgetLong(p *prepared) {
	for _, b := range p.long {
		s.held -= len(b)
	}
	p.long, p.failed = nil, nil
}

func (s *session) resetStatement(body []byte) error {
	p, err := s.find(&reader{b: body}, "mysql_stmt_reset")
	if err != nil {
		return err
	}
	s.forgetLong(p)
	s.ok(0, 0)
	return nil
}

// closeStatement has no answer.
func (s *session) closeStatement(body []byte) {
	r := &reader{b: body}
	n := uint32(r.number(4))
	if p := s.statements[n]; p != nil {
		s.forgetLong(p)
		s.held -= len(p.src)
		delete(s.statements, n)
	}
}
