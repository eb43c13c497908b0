package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"holdfast/internal/httpapi"
	"holdfast/row"
)

func newCat(env *Env) *cobra.Command {
	var s settings
	var q httpapi.RowsQuery
	var asJSON, asCSV bool
	var filter catFilter
	cmd := &cobra.Command{
		Use:   "cat [--data DIR] [--stream S] [--table T] [--from SEQ] [--limit N] [--where CONDITION] [--since TIME] [--explain] [--json | --table T --csv]",
		Short: "print the stored rows, oldest first",
		Long: `cat prints the rows that a stream still stores, in the order of their seq, with
the time of receipt (UTC), the table, and name=value for each column. With --json
each line is an object. Places that cannot be read are told on standard error,
with --json on standard output as {"damage": ...}; the exit code is then 3. With
--csv the columns are those of the first row; NULL is an empty cell, an empty
text is "". Texts that a spreadsheet would run as a formula get a ' in front.

--where takes a condition on the columns of --table: columns compared with
constants and each other, joined by and, or, not, as in
src_ip == "192.0.2.7" and seconds > 60. A comparison with NULL does not hold.
Where the stream has an index, only segments are opened that can match; --explain
tells how many those were. docs/index.md has the rest.`,
		Example: "  holdfast cat --data /var/lib/holdfast --table calls\n  holdfast cat --from 1000 --limit 10 --json\n  holdfast cat --table acc --where 'src_ip == \"192.0.2.7\"' --since 2h --explain",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if asCSV && (asJSON || q.Table == "") {
				return usage("give --table T and --csv, or --json", "--csv prints the rows of one table, and not as JSON")
			}
			if err := notBelow("limit", q.Limit); err != nil {
				return err
			}
			if err := filter.settle(&q, time.Now()); err != nil {
				return err
			}
			return s.with(env, func(db Database) error {
				p := newPrinter(env, asJSON, false)
				if filter.explain || q.Where != "" {
					q.Explain = func(e httpapi.Explained) { p.explained(e, filter.explain) }
				}
				if asCSV {
					p.csv = &csvWriter{out: p.out}
				}
				return p.end(db.Rows(env.Context, q, p.row, p.damage))
			})
		},
	}
	s.reads = true
	s.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&q.Stream, "stream", "main", "`stream` to read")
	f.StringVar(&q.Table, "table", "", "only rows of this `table`")
	f.Uint64Var(&q.From, "from", 0, "begin at this `seq`")
	f.IntVar(&q.Limit, "limit", 0, "stop after this `number` of rows")
	f.BoolVar(&asJSON, "json", false, "one JSON object per row")
	f.BoolVar(&asCSV, "csv", false, "CSV, safe to open in a spreadsheet")
	filter.flags(cmd, &q)
	return cmd
}

// printer writes rows as they come.
type printer struct {
	out     *bufio.Writer
	errs    io.Writer
	json    *json.Encoder // nil for lines of words
	csv     *csvWriter    // likewise
	eager   bool          // whether each row is shown at once
	damaged int
}

func newPrinter(env *Env, asJSON, eager bool) *printer {
	p := &printer{out: bufio.NewWriterSize(env.Stdout, 64<<10), errs: env.Stderr, eager: eager}
	if asJSON {
		p.json = json.NewEncoder(p.out)
		p.json.SetEscapeHTML(false)
	}
	return p
}

func (p *printer) row(r *httpapi.RowLine) error {
	if p.json != nil {
		if err := p.json.Encode(r); err != nil {
			return err
		}
	} else if p.csv != nil {
		if err := p.csv.row(r); err != nil {
			return err
		}
	} else {
		p.words(r)
	}
	if p.eager {
		return p.out.Flush()
	}
	return nil
}

func (p *printer) words(r *httpapi.RowLine) {
	fmt.Fprintf(p.out, "%d %s %s", r.Seq, r.Received.UTC().Format("2006-01-02T15:04:05.000000Z"), word(r.Table))
	for i, v := range r.Values {
		name := "?"
		if i < len(r.Columns) {
			name = r.Columns[i]
		}
		text := "NULL"
		if v != nil {
			text = word(*v)
		}
		fmt.Fprintf(p.out, " %s=%s", word(name), text)
	}
	// A write error stays in the buffer and comes back from Flush.
	_ = p.out.WriteByte('\n')
}

// word returns s as it is where it stands for itself on a line of words, else
// in quotes.
func word(s string) string {
	plain := s != "" && s != "NULL" && !strings.ContainsFunc(s, func(r rune) bool {
		return r == '"' || r == '=' || r == '\\' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
	if plain {
		return s
	}
	return strconv.Quote(s)
}

func (p *printer) damage(d row.Damage) error {
	if !d.Gap {
		p.damaged++
	}
	if p.json != nil {
		return p.json.Encode(map[string]row.Damage{"damage": d})
	}
	// What was before the damage is shown before it.
	if err := p.out.Flush(); err != nil {
		return err
	}
	what := "damage"
	if d.Gap {
		what = "gap"
	}
	_, err := fmt.Fprintf(p.errs, "holdfast: %s: %s\n", what, oneLine(describe(d)))
	return err
}

// end shows what is left, and returns err, or that damage was met.
func (p *printer) end(err error) error {
	if e := p.out.Flush(); err == nil {
		err = e
	}
	if err == nil {
		err = found(p.damaged)
	}
	return err
}

// found is nil for 0, else the error that ends in exit code 3.
func found(damaged int) error {
	if damaged == 0 {
		return nil
	}
	return &exitError{code: exitDamage, err: fmt.Errorf("%s found", plural(damaged, "damaged place"))}
}

// describe tells a damage in words.
func describe(d row.Damage) string {
	if d.Stream == "" { // a file of the data directory itself
		return "data directory: " + d.What
	}
	rows := "no row lost"
	switch {
	case d.First != 0 && d.First == d.Last:
		rows = fmt.Sprintf("seq %d", d.First)
	case d.First != 0:
		rows = fmt.Sprintf("seq %d to %d", d.First, d.Last)
	}
	where := fmt.Sprintf("stream %s, segment %d, offset %d", d.Stream, d.Segment, d.Offset)
	if d.Length > 0 {
		where += ", " + plural(int(d.Length), "byte")
	}
	if d.Gap {
		rows = "gap of " + rows
	}
	return fmt.Sprintf("%s, %s: %s", where, rows, d.What)
}

// ago tells how long something is past, in one unit.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%.0fm", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0fh", d.Hours())
	}
	return fmt.Sprintf("%.0fd", d.Hours()/24)
}
