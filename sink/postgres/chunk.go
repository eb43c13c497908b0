package postgres

import (
	"bytes"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/row"
)

// chunk is rows of one schema as the text of COPY, kept until they are in, so
// that they can be copied again without one that is refused.
type chunk struct {
	plan  *plan
	text  []byte
	lines []line
}

// line is what there is to know of a row besides its values, and where its
// text ends.
type line struct {
	seq      uint64
	received int64
	end      int
	flags    row.Flags
	refused  bool
}

// lineSize is what a line takes, about.
const lineSize = 32

// special says what stands for a byte in the text of COPY.
var special = [256]byte{'\\': '\\', '\n': 'n', '\r': 'r', '\t': 't'}

// add appends a row.
func (k *chunk) add(r *row.Row) {
	b := k.text
	for i := range r.Values {
		if i > 0 {
			b = append(b, '\t')
		}
		v := &r.Values[i]
		if v.Null {
			b = append(b, '\\', 'N')
			continue
		}
		from := 0
		for at, c := range v.Text {
			if s := special[c]; s != 0 {
				b = append(append(b, v.Text[from:at]...), '\\', s)
				from = at + 1
			}
		}
		b = append(b, v.Text[from:]...)
	}
	k.text = append(b, '\n')
	k.lines = append(k.lines, line{seq: r.Seq, received: r.Received, flags: r.Flags, end: len(k.text)})
}

// of returns the text of line i, without its end.
func (k *chunk) of(i int) []byte {
	begin := 0
	if i > 0 {
		begin = k.lines[i-1].end
	}
	return k.text[begin : k.lines[i].end-1]
}

// row makes the row of line i again.
func (k *chunk) row(i int) *row.Row {
	l := k.lines[i]
	r := &row.Row{Seq: l.seq, Received: l.received, Flags: l.flags, Schema: k.plan.schema}
	if len(k.plan.schema.Columns) == 0 {
		return r
	}
	for _, field := range bytes.Split(k.of(i), []byte{'\t'}) {
		r.Values = append(r.Values, unescape(field))
	}
	return r
}

func unescape(field []byte) row.Value {
	if string(field) == `\N` {
		return row.Null
	}
	text := make([]byte, 0, len(field))
	for at := 0; at < len(field); at++ {
		c := field[at]
		if c == '\\' {
			at++
			switch c = field[at]; c {
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			}
		}
		text = append(text, c)
	}
	return row.Value{Text: text}
}

// all returns the lines that were not refused.
func (k *chunk) all() []int {
	at := make([]int, 0, len(k.lines))
	for i := range k.lines {
		if !k.lines[i].refused {
			at = append(at, i)
		}
	}
	return at
}

// pick returns the text of some lines.
func (k *chunk) pick(at []int) []byte {
	if len(at) == len(k.lines) {
		return k.text
	}
	var b []byte
	for from := 0; from < len(at); { // runs of neighbours at once
		to := from
		for to+1 < len(at) && at[to+1] == at[to]+1 {
			to++
		}
		begin := 0
		if at[from] > 0 {
			begin = k.lines[at[from]-1].end
		}
		b = append(b, k.text[begin:k.lines[at[to]].end]...)
		from = to + 1
	}
	return b
}

// named returns which of some lines, copied together, the database names in
// err, or -1. It does so in "COPY t, line 7", which may be translated.
func named(err *pgconn.PgError, table string, lines int) int {
	prefix := "COPY " + table + ", "
	where := "\n" + err.Where
	at := strings.Index(where, "\n"+prefix)
	if at < 0 {
		return -1
	}
	rest := where[at+1+len(prefix):]
	if digits := strings.IndexAny(rest, "0123456789"); digits >= 0 && digits <= 20 {
		n := 0
		for _, c := range []byte(rest[digits:min(len(rest), digits+10)]) {
			if c < '0' || c > '9' {
				break
			}
			n = n*10 + int(c-'0')
		}
		if n >= 1 && n <= lines {
			return n - 1
		}
	}
	return -1
}

// suspect returns the line among at whose key the database names in err, or
// -1. What refers to nothing is told at the end of a statement, or of the
// transaction, without its line, but with the key as text: a row that holds
// exactly this text is one of those that are meant. Where the key was there
// before, the last such row is the one too many.
func (k *chunk) suspect(err *pgconn.PgError, at []int) int {
	places, ok := k.plan.keys[err.ConstraintName]
	if !ok || err.TableName != k.plan.table.name || k.plan.table.before {
		return -1 // and where a trigger changes rows, their text is another one
	}
	var one key
	for _, key := range k.plan.table.keys {
		if key.Name == err.ConstraintName {
			one = key
		}
	}
	var tail string
	switch {
	case err.Code == "23503" && one.Kind == "f" && one.Parent != "":
		tail = ") is not present in table \"" + one.Parent + "\"."
	case err.Code == "23505" && (one.Kind == "u" || one.Kind == "p"):
		tail = ") already exists."
	default:
		return -1
	}
	head := "Key (" + strings.Join(one.Columns, ", ") + ")=("
	wanted, ok := strings.CutPrefix(err.Detail, head)
	if !ok {
		return -1
	}
	if wanted, ok = strings.CutSuffix(wanted, tail); !ok {
		return -1
	}
	for i := len(at) - 1; i >= 0; i-- {
		if k.holds(at[i], places, wanted) {
			return i
		}
	}
	return -1
}

// holds reports whether the values of line i at places are text, joined as the
// database does.
func (k *chunk) holds(i int, places []int, text string) bool {
	fields := bytes.Split(k.of(i), []byte{'\t'})
	for n, place := range places {
		v := unescape(fields[place])
		value := string(v.Text)
		if v.Null || len(places) > 1 && strings.Contains(value, ", ") {
			return false
		}
		if n > 0 {
			value = ", " + value
		}
		rest, ok := strings.CutPrefix(text, value)
		if !ok {
			return false
		}
		text = rest
	}
	return text == ""
}
