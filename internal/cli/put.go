package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/config"
	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
)

// put is one run of the verb.
type put struct {
	settings
	http    string
	table   string
	format  string
	columns []string
	batch   int
	spool   string

	patience time.Duration // with a batch whose answer did not come
	keyless  bool          // the server takes no more keys

	rows  atomic.Int64
	lines atomic.Int64 // whose rows are stored
}

func newPut(env *Env) *cobra.Command {
	p := &put{}
	cmd := &cobra.Command{
		Use:   "put [--http ADDR | --data DIR | --spool DIR] --table T --format flat|csv|ndjson [--columns a,b,c] < lines",
		Short: "store lines from standard input as rows",
		Long: `put stores lines from standard input as rows of one table, in batches. A batch
is stored whole or not at all; where one is refused, the message names the line
at fault and says which lines are stored. Where no answer comes, because the
connection broke or the server was killed, a batch is sent again for as long as
--retry says, with a key by which the server knows it, so that it is stored once.

Formats: flat is Kamailio's flat files, fields separated by |, stored byte for
byte, their columns named by --columns. csv has a header line unless --columns
is given; an empty field is NULL, "" is the empty string. ndjson is one JSON
object per line.

Rows go to the server at --http, or to the one that has --data open; where none
has, straight into the directory. Without both they go to the server that has
the default data directory open, or else to 127.0.0.1:8433.

With --spool they are written, as they are, to one file in that spool directory,
below the table's name, which is on disk when put ends: for when the server is
away. The server reads them as its source of that directory is configured to.`,
		Example: `  holdfast put --table calls --format csv < calls.csv
  holdfast put --http 127.0.0.1:8433 --table acc --format flat --columns method,callid,time < acc_1.log
  holdfast put --spool /var/spool/holdfast --table calls --format ndjson < calls.ndjson`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.run(env) },
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&p.http, "http", "", "`address` of the server's HTTP door")
	f.StringVar(&p.spool, "spool", "", "spool `directory` that one file is written to")
	f.StringVar(&p.table, "table", "", "`table` that the rows go to")
	f.StringVar(&p.format, "format", "", "format of the lines: flat, csv or ndjson")
	f.StringSliceVar(&p.columns, "columns", nil, "`names` of the columns, in the order of the fields")
	f.DurationVar(&p.patience, "retry", askAgainFor, "how `long` a batch is sent again whose answer did not come")
	f.IntVar(&p.batch, "batch", 1000, "the most `rows` in one batch")
	return cmd
}

func (p *put) check() error {
	hint := "see holdfast put --help"
	if p.spool != "" {
		return p.checkSpool()
	}
	switch {
	case p.table == "":
		return usage(hint, "--table is missing")
	case p.format == "":
		return usage("--format flat, csv or ndjson", "--format is missing")
	case p.format != "flat" && p.format != "csv" && p.format != "ndjson":
		return usage("flat, csv or ndjson", "format %q is not known", p.format)
	case p.format == "flat" && len(p.columns) == 0:
		return usage("name them with --columns, in the order of the fields", "flat lines carry no column names")
	case p.format == "ndjson" && len(p.columns) > 0:
		return usage("leave --columns out", "ndjson lines name their columns themselves")
	case p.http != "" && p.data != "":
		return usage("give one of them", "--http and --data name two servers")
	case p.batch < 1 || p.batch > 100000:
		return usage("from 1 to 100000", "--batch %q is out of range", fmt.Sprint(p.batch))
	}
	seen := map[string]bool{}
	for i, c := range p.columns {
		p.columns[i] = strings.TrimSpace(c)
		if p.columns[i] == "" || seen[p.columns[i]] {
			return usage("name each column once", "--columns names %q twice, or nothing", c)
		}
		seen[p.columns[i]] = true
	}
	return nil
}

func (p *put) connect(env *Env) (Database, error) {
	switch {
	case p.http != "":
		return httpapi.NewTCP(p.http), nil
	case p.named(env):
		return p.settings.connect(env)
	}
	// As with the other verbs, a server that was started here is the one that
	// is meant, whatever its ports are.
	c := config.Default()
	if path := c.AdminSocket(); answers(env.Context, path) == nil {
		return httpapi.NewUnix(path), nil
	}
	return httpapi.NewTCP(string(c.Listen.HTTP)), nil
}

func (p *put) run(env *Env) error {
	if err := p.check(); err != nil {
		return err
	}
	if p.spool != "" {
		return p.intoSpool(env)
	}
	db, err := p.connect(env)
	if err != nil {
		return err
	}
	started := time.Now()
	bar := startProgress(env, func() string {
		n := p.rows.Load()
		return fmt.Sprintf("%d rows stored, %.0f rows/s", n, float64(n)/time.Since(started).Seconds())
	})
	err = p.send(env.Context, db, newBatcher(env.Stdin, p.format, p.columns, p.batch))
	bar.stop()
	if e := db.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "%d rows stored\n", p.rows.Load())
	return err
}

// send stores batch after batch, and tells where it had to stop.
func (p *put) send(ctx context.Context, db Database, in *batcher) error {
	for {
		b, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return p.stopped(b, err)
		}
		if err := ctx.Err(); err != nil {
			return p.stopped(b, errors.New("interrupted"))
		}
		n, err := p.store(ctx, db, b)
		if err == nil && n != b.rows {
			err = fmt.Errorf("%w: %d rows were sent, and %d stored", httpapi.ErrUnknown, b.rows, n)
		}
		if err != nil {
			return p.stopped(b, err)
		}
		p.rows.Add(int64(n))
		p.lines.Store(int64(b.last))
	}
}

// stopped says which line stopped the run, what of the input is stored, and
// how to go on.
func (p *put) stopped(b *batch, err error) error {
	message, hint := err.Error(), ""
	var f *fault.Error
	if errors.As(err, &f) {
		hint = f.Hint
		message = strings.TrimSuffix(message, " (hint: "+hint+")")
	}
	line := b.bad
	var r *httpapi.Refused
	if errors.As(err, &r) && r.Line > 0 {
		line = b.lineOf(r.Line)
	}
	if line > 0 {
		message = fmt.Sprintf("line %d: %s", line, message)
	}
	unknown := errors.Is(err, httpapi.ErrUnknown) || fault.Code(err) == fault.OutcomeUnknown
	done := p.lines.Load()
	switch {
	case unknown && done == 0:
		message += fmt.Sprintf("; lines 1 to %d may or may not be stored, later ones are not", b.last)
	case unknown:
		message += fmt.Sprintf("; lines 1 to %d are stored, lines %d to %d may or may not be, later ones are not", done, done+1, b.last)
	case done == 0:
		message += "; nothing is stored"
	default:
		message += fmt.Sprintf("; lines 1 to %d are stored, nothing after them is", done)
		if hint == "" {
			hint = fmt.Sprintf("go on with the lines from %d", done+1)
		}
	}
	return &exitError{code: exitFailed, err: errors.New(message), hint: hint}
}
