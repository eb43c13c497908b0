package flat

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// maxName is the longest name of a file on the file systems there are.
const maxName = 255

// pattern makes the names of files.
type pattern struct {
	text  string // with {n} filled in
	n     int
	timed bool
	zone  *time.Location
}

// layouts are the conversions of strftime that a name may have, in Go's words.
var layouts = map[byte]string{'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'j': "002"}

func parsePattern(text string, n int, local bool) (pattern, error) {
	p := pattern{text: strings.ReplaceAll(text, "{n}", strconv.Itoa(n)), n: n, zone: time.UTC}
	if local {
		p.zone = time.Local
	}
	bad := func(format string, args ...any) (pattern, error) {
		return pattern{}, fmt.Errorf("file name %q: "+format, append([]any{text}, args...)...)
	}
	if !strings.Contains(text, "{table}") {
		return bad("{table} is missing, so that rows of several tables could not be told apart")
	}
	if !strings.Contains(text, "{n}") {
		return bad("{n} is missing, which keeps the files of several writers apart")
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			continue
		}
		i++
		switch {
		case i == len(text):
			return bad("%% at its end; write %%%% for a percent sign")
		case text[i] == '%':
		case layouts[text[i]] == "":
			return bad("%%%c is none of %%Y %%y %%m %%d %%H %%M %%S %%j %%%%", text[i])
		default:
			p.timed = true
		}
	}
	if path.IsAbs(text) || path.Clean(text) != text || text == ".." || strings.HasPrefix(text, "../") {
		return bad("it must be a plain path below the directory")
	}
	for part := range strings.SplitSeq(text, "/") {
		if strings.HasPrefix(part, ".") || strings.HasPrefix(part, "holdfast_") {
			return bad("names that begin with a dot or with holdfast_ are reserved")
		}
	}
	return p, nil
}

// file returns the name of the file for a row of table.
func (p *pattern) file(table string, received int64) (string, error) {
	at := time.UnixMicro(received).In(p.zone)
	escaped := escapeName(table)
	var b strings.Builder
	for i := 0; i < len(p.text); i++ {
		switch {
		case p.text[i] == '%':
			i++
			if p.text[i] == '%' {
				b.WriteByte('%')
			} else {
				b.WriteString(at.Format(layouts[p.text[i]]))
			}
		case strings.HasPrefix(p.text[i:], "{table}"):
			b.WriteString(escaped)
			i += len("{table}") - 1
		default:
			b.WriteByte(p.text[i])
		}
	}
	name := b.String()
	return name, checkName(name)
}

// companion returns the name of the file that tells the columns of table.
func (p *pattern) companion(table string) string {
	return fmt.Sprintf("%s_%d.columns", escapeName(table), p.n)
}

// gapFile returns the name of the file that tells what is missing.
func (p *pattern) gapFile() string { return fmt.Sprintf("%s_%d.log", gaps, p.n) }

var errName = errors.New("the name of its file would be longer than a file system takes")

func checkName(name string) error {
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > maxName-len(".20060102T150405Z-999") {
			return errName
		}
	}
	return nil
}

// escapeName makes a table's name one part of a path. Usual names stay as they
// are; what means something in a path, or to a shell's pattern for hidden
// files, becomes %XX, and so does the percent sign.
func escapeName(table string) string {
	var b strings.Builder
	for i := range len(table) {
		c := table[i]
		if c < ' ' || c == 0x7f || c == '/' || c == '%' || c == '.' && i == 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
