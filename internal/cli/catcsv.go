package cli

import (
	"bufio"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
)

// csvWriter writes rows of one table as CSV, as PostgreSQL does: NULL is
// nothing, an empty text is "". A cell that a spreadsheet would run as a formula
// is made text by a leading '.
type csvWriter struct {
	out     *bufio.Writer
	columns []string // of the first row; nil before it
	line    []byte
}

func (c *csvWriter) row(r *httpapi.RowLine) error {
	if c.columns == nil {
		c.columns = slices.Clone(r.Columns)
		c.line = append(c.line[:0], "seq,received,table"...)
		for _, name := range c.columns {
			c.cell(name)
		}
		if err := c.end(); err != nil {
			return err
		}
	}
	for _, name := range r.Columns {
		if !slices.Contains(c.columns, name) {
			return fault.New(fault.UndefinedColumn, "seq %d has the column %q, which the first row has not", r.Seq, name).
				WithHint("begin at that row: --from %d; or use --json", r.Seq)
		}
	}
	c.line = strconv.AppendUint(c.line[:0], r.Seq, 10)
	c.line = r.Received.UTC().AppendFormat(append(c.line, ','), time.RFC3339Nano)
	c.cell(r.Table)
	for _, name := range c.columns {
		i := slices.Index(r.Columns, name)
		if i < 0 || i >= len(r.Values) || r.Values[i] == nil {
			c.line = append(c.line, ',')
			continue
		}
		c.cell(*r.Values[i])
	}
	return c.end()
}

// cell adds a comma and a value.
func (c *csvWriter) cell(text string) {
	c.line = append(c.line, ',')
	if formula(text) {
		text = "'" + text
	}
	if text != "" && !strings.ContainsAny(text, "\",\r\n") && strings.TrimSpace(text) == text {
		c.line = append(c.line, text...)
		return
	}
	c.line = append(append(append(c.line, '"'), strings.ReplaceAll(text, `"`, `""`)...), '"')
}

func (c *csvWriter) end() error {
	_, err := c.out.Write(append(c.line, '\n'))
	return err
}

// formula tells whether a spreadsheet may take text for more than text. Plain
// numbers are what they are.
func formula(text string) bool {
	if text == "" || !strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
		return false
	}
	digits := strings.TrimLeft(text[1:], "0123456789")
	if fraction, ok := strings.CutPrefix(digits, "."); ok {
		digits = strings.TrimLeft(fraction, "0123456789")
	}
	number := digits == "" && len(text) > 1 && text[1] != '.' && (text[0] == '-' || text[0] == '+')
	return !number
}
