package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"holdfast/internal/config"
	"holdfast/internal/daemon"
	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
	"holdfast/internal/reconcile"
	"holdfast/row"
	"holdfast/sink"
)

// reconciler is the flags of reconcile.
type reconciler struct {
	settings
	stream, sink, temp string
	ledger             string
	renew              bool
	from               uint64
	most               int
	json               bool
}

func newReconcile(env *Env) *cobra.Command {
	var r reconciler
	cmd := &cobra.Command{
		Use:   "reconcile [--config FILE | --data DIR] [--stream S] [--sink K] [--from SEQ] [--limit N] [--ledger FILE [--renew]] [--temp DIR] [--json]",
		Short: "hold what a sink has against the rows that were acked",
		Long: `reconcile compares the rows of a stream, as far back as they are stored, with the
tables of a sink (postgres, mysql, sqlite), their archives included, and with the
rejects, up to the row that the sink had last. Rows that are missing, doubled or
changed are named by their seq, one line each; the exit code is then 3. It changes
nothing, works beside a running server, and keeps 48 bytes per row in temporary
files. With --ledger it writes number and digest of each table's rows to a file
where nothing is different; the next time, rows that the stream does not store any
more are held against that.`,
		Example: "  holdfast reconcile --config /etc/holdfast.yaml --sink billing\n  holdfast reconcile --data /var/lib/holdfast --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if r.most < 1 {
				return usage("from 1", "--limit \"%d\" is out of range", r.most)
			}
			c, err := r.load(env, config.Override{})
			if err != nil {
				return err
			}
			return r.with(env, func(db Database) error { return r.run(env, c, db) })
		},
	}
	r.settings.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&r.stream, "stream", "main", "`stream` to compare")
	f.StringVar(&r.sink, "sink", "", "`sink` to compare it with; the only one, if not given")
	f.Uint64Var(&r.from, "from", 0, "begin at this `seq`; the oldest that is stored, if not given")
	f.IntVar(&r.most, "limit", 1000, "tell at most `N` differences")
	f.StringVar(&r.temp, "temp", "", "`directory` for temporary files; the system's, if not given")
	f.StringVar(&r.ledger, "ledger", "", "`file` of digests that outlive the stored rows; made where there is none")
	f.BoolVar(&r.renew, "renew", false, "do not hold anything against the ledger, as behind archive drop, and write it anew")
	f.BoolVar(&r.json, "json", false, "one JSON object")
	return cmd
}

func (r *reconciler) run(env *Env, c *config.Config, db Database) error {
	if names := c.SinkNames(); r.sink == "" && len(names) == 1 {
		r.sink = names[0]
	} else if r.sink == "" {
		return usage("--sink "+strings.Join(names, ", or --sink "), "there are %d sinks", len(names))
	}
	st, err := db.Status(env.Context)
	if err != nil {
		return err
	}
	id := sink.ID{Stream: r.stream, Sink: r.sink}
	for _, s := range st.Streams {
		if s.Name == r.stream {
			id.StreamID = s.ID
		}
	}
	if id.StreamID == "" {
		return fault.New(fault.UndefinedObject, "there is no stream %q", r.stream).WithHint("holdfast status names them")
	}
	at, shape, err := daemon.Compare(env.Context, c, r.sink, id)
	if err != nil {
		return err
	}
	defer at.Close() //nolint:errcheck // it changed nothing
	rejects, err := r.rejects(env, db)
	if err != nil {
		return err
	}
	var old *reconcile.Ledger
	if !r.renew {
		if old, err = readLedger(r.ledger, id); err != nil {
			return err
		}
	}
	var done, all atomic.Uint64
	bar := startProgress(env, func() string { return fmt.Sprintf("%d of %d rows given to the database", done.Load(), all.Load()) })
	report, err := reconcile.Run(env.Context, at, reconcile.Options{
		Name: r.stream, Sink: r.sink, Stream: stored{db, r.stream}, Shape: shape, Rejects: rejects, From: r.from, Dir: r.temp, Most: r.most, Ledger: old,
		Progress: func(n, of uint64) { done.Store(n); all.Store(of) },
	})
	bar.stop()
	if err == nil {
		err = writeLedger(r.ledger, id, report.Ledger)
	}
	if err != nil {
		return err
	}
	if r.json {
		if err := json.NewEncoder(env.Stdout).Encode(report); err != nil {
			return err
		}
	} else if err := printReconciled(env.Stdout, report, repeats(st, r.stream), r.ledger != ""); err != nil {
		return err
	}
	if report.Equal() {
		return nil
	}
	return &exitError{code: exitDamage, err: fmt.Errorf("%s found", plural(len(report.Differences)+int(report.More), "difference"))}
}

// repeats is how many rows the doors of a stream dropped as repeats.
func repeats(st httpapi.Status, stream string) (n uint64) {
	for _, d := range st.Dedupe {
		if d.Stream == stream {
			n += d.Repeats
		}
	}
	return n
}

// rejects returns the rows that the sink refused, with the values of those that
// were edited before a retry.
func (r *reconciler) rejects(env *Env, db Database) (map[uint64]reconcile.Reject, error) {
	keeper, ok := db.(rejecter)
	all := map[uint64]reconcile.Reject{}
	if !ok {
		return all, nil
	}
	var edited []httpapi.Reject
	err := keeper.Rejects(env.Context, httpapi.RejectFilter{Stream: r.stream, Sink: r.sink, State: "all"}, func(one httpapi.Reject) error {
		all[one.Seq] = reconcile.Reject{State: one.State}
		if one.Edits > 0 && one.State == "delivered" {
			edited = append(edited, one)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, one := range edited {
		whole, err := keeper.Reject(env.Context, one.ID)
		if err != nil {
			return nil, err
		}
		if whole.Lost == "" {
			all[one.Seq] = reconcile.Reject{State: one.State, Row: rowOf(&httpapi.RowLine{Seq: one.Seq, Table: whole.Table, Columns: whole.Columns, Values: whole.Values}, nil)}
		}
	}
	return all, nil
}

// stored is the rows of a stream, as a server or a directory has them.
type stored struct {
	db     Database
	stream string
}

// maxSchemas bounds how many schemas are remembered.
const maxSchemas = 1000

// Rows implements reconcile.Stream.
func (s stored) Rows(ctx context.Context, from uint64, emit func(*row.Row) error, damage func(row.Damage) error) error {
	schemas := map[string]*row.Schema{}
	return s.db.Rows(ctx, httpapi.RowsQuery{Stream: s.stream, From: from, Whole: true}, func(l *httpapi.RowLine) error {
		if len(schemas) > maxSchemas {
			clear(schemas)
		}
		return emit(rowOf(l, schemas))
	}, damage)
}

// rowOf makes a row of a line; schemas, unless nil, are those made before.
func rowOf(l *httpapi.RowLine, schemas map[string]*row.Schema) *row.Row {
	key := l.Table + "\x00" + strings.Join(l.Columns, "\x00") + "\x00\x00" + strings.Join(l.Types, "\x00")
	s := schemas[key]
	if s == nil {
		s = &row.Schema{Table: l.Table}
		for i, name := range l.Columns {
			c := row.Column{Name: name}
			if i < len(l.Types) {
				c.Type = l.Types[i]
			}
			s.Columns = append(s.Columns, c)
		}
		if schemas != nil {
			schemas[key] = s
		}
	}
	r := &row.Row{Seq: l.Seq, Received: l.Received.UnixMicro(), Schema: s, Values: make([]row.Value, len(l.Values))}
	if l.Malformed {
		r.Flags |= row.Malformed
	}
	if l.Yields {
		r.Flags |= row.Yields
	}
	for i, v := range l.Values {
		if r.Values[i] = row.Null; v != nil {
			r.Values[i] = row.Text(*v)
		}
	}
	return r
}

// printReconciled prints what was compared, and a line for each difference.
func printReconciled(w io.Writer, p *reconcile.Report, repeats uint64, ledger bool) error {
	b := &strings.Builder{}
	compared := fmt.Sprintf("seq %d to %d compared; what lies behind is not delivered yet, or was since", p.From, p.To)
	if p.To < p.From {
		compared = fmt.Sprintf("nothing from seq %d on is delivered yet, and so nothing was compared", p.From)
	}
	fmt.Fprintf(b, "stream %s, sink %s: %s\n", p.Stream, p.Sink, compared)
	for _, n := range []struct {
		n    uint64
		what string
	}{
		{p.Gaps, "seqs in gaps: rolled away, dropped or given up by repair"}, {p.Passed, "seqs that the sink was told to pass over (holdfast_gap)"},
		{p.States, "seqs that are no rows of a client"}, {p.Elsewhere, "rows that this sink does not take"}, {p.Malformed, "malformed lines"},
		{p.Waiting, "rejects that wait"}, {p.Discarded, "rejects that were discarded"}, {p.LeftOut, "rows left out: ON CONFLICT DO NOTHING"},
		{p.Expected, "rows that must be in the sink"}, {p.Retried, "of them brought by a retry"},
		{p.Older, "rows of the sink that are older than what the stream still has, or not of it: not compared one by one"},
		{repeats, "repeats dropped at the door since the server's start, which have no seq"},
	} {
		if n.n > 0 {
			fmt.Fprintf(b, "%12d %s\n", n.n, n.what)
		}
	}
	b.WriteString(proof(p, ledger))
	for _, t := range p.Tables {
		fmt.Fprintf(b, "table %s: %d of %d rows, digest %s", oneLine(t.Table), t.Found, t.Expected, t.Digest)
		for i, place := range t.Places {
			lead := ", "
			if i == 0 {
				lead = "; the sink has "
			}
			fmt.Fprintf(b, "%s%d in %s", lead, place.Rows, oneLine(place.Name))
		}
		if len(t.Ignored) > 0 {
			fmt.Fprintf(b, "; not compared, since the database fills it: %s", oneLine(strings.Join(t.Ignored, ", ")))
		}
		fmt.Fprintln(b)
	}
	for _, d := range p.Differences {
		fmt.Fprintln(b, oneLine(differs(d)))
	}
	if p.More > 0 {
		fmt.Fprintf(b, "and %d more\n", p.More)
	}
	if p.Equal() {
		fmt.Fprintln(b, "no difference")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// differs tells of a difference in one line.
func differs(d reconcile.Difference) string {
	text := fmt.Sprintf("%s: table %s, ", d.Kind, d.Table)
	switch {
	case d.Kind == reconcile.Older:
		text += fmt.Sprintf("seq %d to %d, which are not stored any more", d.First, d.Last)
	case d.First == 0:
		text += plural(int(d.Rows), "row")
	case d.First == d.Last:
		text += fmt.Sprintf("seq %d", d.First)
	default:
		text += fmt.Sprintf("seq %d to %d", d.First, d.Last)
	}
	if d.Place != "" {
		text += " in " + d.Place
	}
	if d.Note != "" {
		text += ": " + d.Note
	}
	return text
}
