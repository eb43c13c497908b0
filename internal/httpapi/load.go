package httpapi

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"

	"holdfast/internal/fault"
	"holdfast/row"
)

// Load is rows in one of the formats that the HTTP door takes.
type Load struct {
	Table string
	// ContentType is application/x-ndjson, application/json (an array of
	// objects, or one object) or text/csv (with a header line).
	ContentType string
	Body        io.Reader
	Durable     bool // whether the rows must be flushed before Put returns

	grow func() error // called before a record becomes large; may be nil
}

// mediaError is a body in a format that nothing here can read.
type mediaError struct{ fault *fault.Error }

// Error returns the fault's text.
func (m mediaError) Error() string { return m.fault.Error() }

// Unwrap returns the fault.
func (m mediaError) Unwrap() error { return m.fault }

// unreadable makes a mediaError; args are formatted into message.
func unreadable(hint, message string, args ...any) error {
	return mediaError{fault.New(fault.FeatureNotSupported, message, args...).WithHint("%s", hint)}
}

// Put stores the rows of in, all of them or none, and returns how many they
// are. What it holds in memory is bounded by the largest record. Where the
// body is at fault the error is *Refused and names the line.
func Put(ctx context.Context, s Store, in Load) (int, error) {
	if err := clean([]byte(in.Table)); err != nil {
		return 0, err
	}
	read, err := reader(in.ContentType)
	if err != nil {
		return 0, err
	}
	if in.grow == nil {
		in.grow = func() error { return nil }
	}
	l := &loader{store: s, table: in.Table, tx: s.Begin(), orders: map[string]*order{}, sets: map[string]*row.Schema{}}
	ended := false
	defer func() {
		if !ended {
			l.tx.Rollback()
		}
	}()
	if line, err := read(l, newInput(in.Body, in.grow)); err != nil {
		return 0, refusal(line, err)
	}
	if err := ctx.Err(); err != nil {
		return 0, fault.New(fault.QueryCanceled, "the request was given up").Because(err)
	}
	rows := l.tx.Rows()
	ended = true
	if rows == 0 {
		l.tx.Rollback()
		return 0, nil
	}
	if err := l.tx.Commit(ctx, in.Durable); err != nil {
		return 0, err
	}
	return rows, nil
}

// refusal names the line of a fault; what went wrong with the body itself is
// no line's fault.
func refusal(line int, err error) error {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return &Refused{Line: line, Err: f}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.New(fault.ProtocolViolation, "the body was silent for %s, or too slow while it held memory that others wait for", idleBody).Because(err)
	}
	return fault.New(fault.ProtocolViolation, "the body ends early").Because(err)
}

// reader returns what reads a body of the content type.
func reader(contentType string) (func(*loader, *input) (line int, err error), error) {
	hint := "send application/x-ndjson, application/json or text/csv"
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, unreadable(hint, "content type %q cannot be read", contentType)
	}
	if c, ok := params["charset"]; ok && !strings.EqualFold(c, "utf-8") && !strings.EqualFold(c, "us-ascii") {
		return nil, unreadable("send UTF-8", "charset %q is not taken", c)
	}
	switch kind {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return func(l *loader, in *input) (int, error) { return l.objects(in.nextNDJSON) }, nil
	case "application/json":
		return func(l *loader, in *input) (int, error) { return l.objects((&elements{input: in}).next) }, nil
	case "text/csv":
		if params["header"] == "absent" {
			return nil, unreadable("name the columns in the first line", "CSV without a header line is not taken")
		}
		return (*loader).csv, nil
	}
	return nil, unreadable(hint, "content type %q is not taken", kind)
}

// loader puts the rows of one body into one transaction.
type loader struct {
	store  Store
	table  string
	tx     Tx
	known  map[string]string // types by column; nil until the first row
	orders map[string]*order // by the columns' names in the order of a row
	sets   map[string]*row.Schema
	held   int // bytes of the keys of orders
	key    []byte
	values []row.Value
}

// order says how the values of a row with its columns in one order become
// those of a schema.
type order struct {
	schema *row.Schema
	place  []int // place[i] is where the i-th value of the row goes
}

// objects stores the object that each call of next returns.
func (l *loader) objects(next func() ([]byte, int, error)) (int, error) {
	var p objectParser
	for {
		text, line, err := next()
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err != nil {
			return line, err
		}
		fields, err := p.parse(text)
		if err != nil {
			return line, err
		}
		if err := l.object(fields); err != nil {
			return line, err
		}
	}
}

func (l *loader) object(fields []field) error {
	if len(fields) == 0 {
		return fault.New(fault.SyntaxError, "the object is empty, so the row has no column")
	}
	l.key = l.key[:0]
	for _, f := range fields {
		l.key = append(append(l.key, f.name...), 0)
	}
	o := l.orders[string(l.key)]
	if o == nil {
		var err error
		if o, err = l.newOrder(fields); err != nil {
			return err
		}
	}
	if cap(l.values) < len(fields) {
		l.values = make([]row.Value, len(fields))
	}
	l.values = l.values[:len(fields)]
	for i, f := range fields {
		l.values[o.place[i]] = f.value
	}
	return l.tx.Insert(o.schema, l.values)
}

// newOrder finds the schema for fields, whose order was not met before. Rows
// that differ only in the order of their keys share one.
func (l *loader) newOrder(fields []field) (*order, error) {
	// Rows with these keys in this order are all alike in this.
	if err := distinct(fields); err != nil {
		return nil, err
	}
	l.held += len(l.key)
	if len(l.orders) == maxSets || l.held > maxRecord {
		return nil, fault.New(fault.LimitExceeded, "the rows name their columns in more than %d different ways", len(l.orders)).
			WithHint("send rows with the same keys in one request, and others in another")
	}
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = string(f.name)
	}
	sorted := slices.Sorted(slices.Values(names))
	id := strings.Join(sorted, "\x00")
	s := l.sets[id]
	if s == nil {
		columns := make([]row.Column, len(fields))
		for i, f := range fields {
			t, err := l.typeOf(names[i], f.kind)
			if err != nil {
				return nil, err
			}
			columns[i] = row.Column{Name: names[i], Type: t}
		}
		var err error
		if s, err = l.store.Schema(l.table, columns); err != nil {
			return nil, err
		}
		l.sets[id] = s
	}
	place := make(map[string]int, len(s.Columns))
	for i, c := range s.Columns {
		place[c.Name] = i
	}
	o := &order{schema: s, place: make([]int, len(names))}
	for i, name := range names {
		p, ok := place[name]
		if !ok || len(s.Columns) != len(names) {
			return nil, fault.New(fault.UndefinedColumn, "column %q of table %q is not known", name, l.table)
		}
		o.place[i] = p
	}
	l.orders[string(l.key)] = o
	return o, nil
}

// typeOf returns the declared type of a column, else the one that its first
// value in this body suggests; "" where that is NULL.
func (l *loader) typeOf(column string, kind kindOf) (string, error) {
	if err := l.learn(); err != nil {
		return "", err
	}
	if t := l.known[column]; t != "" {
		return t, nil
	}
	t := ""
	switch kind {
	case isNumber:
		t = "numeric"
	case isOther:
		t = "text"
	}
	l.known[column] = t
	return t, nil
}

// learn asks once what is known of the table.
func (l *loader) learn() error {
	if l.known != nil {
		return nil
	}
	l.known = map[string]string{}
	columns, err := l.store.Columns(l.table)
	if err != nil && fault.Code(err) != fault.UndefinedTable {
		return err
	}
	for _, c := range columns {
		l.known[c.Name] = c.Type
	}
	return nil
}

// csv stores the records of a CSV body. A column of which nothing is known
// becomes text, since CSV does not tell a number from digits.
func (l *loader) csv(in *input) (int, error) {
	c := &csvReader{input: in}
	columns, line, err := c.header()
	if errors.Is(err, io.EOF) {
		return 0, nil
	}
	if err != nil {
		return line, err
	}
	for i := range columns {
		if columns[i].Type, err = l.typeOf(columns[i].Name, isOther); err != nil {
			return line, err
		}
	}
	s, err := l.store.Schema(l.table, columns)
	if err != nil {
		return line, err
	}
	for {
		values, line, err := c.next()
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err != nil {
			return line, err
		}
		if len(values) != len(columns) {
			return line, fault.New(fault.BadCopyFormat, "the record has %d fields, and %d columns are named, in the header line or with the request", len(values), len(columns))
		}
		if err := l.tx.Insert(s, values); err != nil {
			return line, err
		}
	}
}

// postRows is POST /v1/tables/{table}/rows.
func (a *API) postRows(w http.ResponseWriter, r *http.Request) {
	durable := true
	switch v := r.URL.Query().Get("synchronous_commit"); v {
	case "", "on", "local", "remote_write", "remote_apply":
	case "off":
		durable = false
	default:
		fail(w, fault.New(fault.InvalidParameterValue, "synchronous_commit %q is not known", v).WithHint("on or off"))
		return
	}
	if err := a.allow(r, r.PathValue("table")); err != nil {
		w.Header().Set("Connection", "close") // the body is not read
		fail(w, err)
		return
	}
	body, err := a.openBody(w, r)
	if err != nil {
		refuse(w, http.StatusUnsupportedMediaType, err)
		return
	}
	defer body.Close()
	if len(r.Header.Values("Idempotency-Key")) > 0 {
		a.postOnce(w, r, body, durable)
		return
	}
	rows, err := a.put(r, a.o.Store, Load{Body: body, Durable: durable}, body.from.hurry)
	a.answerRows(w, rows, err)
}

// put stores the rows of a request; hurry is called once others wait for it.
func (a *API) put(r *http.Request, s Store, in Load, hurry func()) (int, error) {
	large := false
	in.Table, in.ContentType = r.PathValue("table"), r.Header.Get("Content-Type")
	in.grow = func() error {
		select {
		case a.large <- struct{}{}:
			large = true
			hurry()
			return nil
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	rows, err := Put(r.Context(), s, in)
	if large {
		<-a.large
	}
	return rows, err
}

// answerRows answers how many rows were stored, or why none.
func (a *API) answerRows(w http.ResponseWriter, rows int, err error) {
	switch {
	case err == nil:
		answer(w, http.StatusOK, map[string]int{"rows": rows})
	case errors.As(err, new(mediaError)):
		refuse(w, http.StatusUnsupportedMediaType, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		refuse(w, http.StatusRequestTimeout, err)
	default:
		fail(w, err)
	}
}
