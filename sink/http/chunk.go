package http

import (
	"strconv"
	"time"

	"holdfast/row"
)

// chunk is rows on their way into requests, as lines and as rows: a refused
// one is set aside with its values.
type chunk struct {
	body  []byte
	rows  []row.Row
	ends  []int // where each row's line ends in body
	arena []byte
}

func (c *chunk) reset() {
	c.body, c.rows, c.ends, c.arena = c.body[:0], c.rows[:0], c.ends[:0], c.arena[:0]
}

// add copies r and appends its line.
func (c *chunk) add(r *row.Row) {
	c.body = appendLine(c.body, r)
	c.ends = append(c.ends, len(c.body))
	// A copy that the arena outgrows keeps the old one alive, with its bytes.
	kept := *r
	kept.Values = make([]row.Value, len(r.Values))
	for i, v := range r.Values {
		at := len(c.arena)
		c.arena = append(c.arena, v.Text...)
		kept.Values[i] = row.Value{Text: c.arena[at:len(c.arena):len(c.arena)], Null: v.Null}
	}
	c.rows = append(c.rows, kept)
}

// takeLast removes the last row from c, and returns it as a chunk of its own.
func (c *chunk) takeLast() *chunk {
	last := len(c.rows) - 1
	own := new(chunk)
	own.add(&c.rows[last])
	c.rows, c.ends = c.rows[:last], c.ends[:last]
	c.body = c.body[:c.start(last)]
	return own
}

func (c *chunk) start(i int) int {
	if i == 0 {
		return 0
	}
	return c.ends[i-1]
}

// lines returns the lines of the rows from i to before j.
func (c *chunk) lines(i, j int) []byte { return c.body[c.start(i):c.ends[j-1]] }

// appendLine appends r as one line of JSON.
func appendLine(dst []byte, r *row.Row) []byte {
	dst = append(dst, `{"seq":`...)
	dst = strconv.AppendUint(dst, r.Seq, 10)
	dst = append(dst, `,"received":"`...)
	dst = time.UnixMicro(r.Received).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
	dst = append(dst, `","table":`...)
	dst = appendString(dst, []byte(r.Schema.Table))
	switch r.Flags & (row.TxBegin | row.TxEnd) {
	case row.TxBegin:
		dst = append(dst, `,"tx":"begin"`...)
	case row.TxEnd:
		dst = append(dst, `,"tx":"end"`...)
	}
	dst = append(dst, `,"row":{`...)
	for i, c := range r.Schema.Columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, []byte(c.Name)), ':')
		if r.Values[i].Null {
			dst = append(dst, "null"...)
		} else {
			dst = appendString(dst, r.Values[i].Text)
		}
	}
	return append(dst, "}}\n"...)
}

// appendString appends text, which is UTF-8, as a JSON string.
func appendString(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	plain := 0
	for i, c := range text {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[plain:i]...)
		plain = i + 1
		if c < ' ' {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, '\\', c)
		}
	}
	return append(append(dst, text[plain:]...), '"')
}
