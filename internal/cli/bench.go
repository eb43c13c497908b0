package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/bench"
)

// Times of one case: all cases together take about two minutes, or
// twenty-five seconds with --quick.
const (
	benchTime  = 3500 * time.Millisecond
	benchQuick = 500 * time.Millisecond
)

// quickSegment is the size of segments with --quick, in bytes: large ones take
// longer to write beforehand than the cases themselves.
const quickSegment = 8 << 20

// newBenchServer is what the bench starts: users have no use for it.
func newBenchServer(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "server DIR BYTES", Short: "serve the wire to a bench until standard input ends", Hidden: true,
		Example: "  holdfast bench server /tmp/bench 67108864", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			segment, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil || segment < 1<<20 || segment > 1<<30 {
				return usage("from 1048576 to 1073741824 bytes", "segments of %q bytes cannot be made", args[1])
			}
			return bench.Serve(env.Context, args[0], segment, env.Stdin, env.Stdout)
		},
	}
}

// benchFlags are what the user may say.
type benchFlags struct {
	options bench.Options
	only    string
	quick   bool
	stored  int
	asJSON  bool
	out     string
}

func newBench(env *Env) *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench [--quick] [--only REGEXP] [--rows N] [--rounds N] [--stored MiB] [--dir DIR] [--postgres] [--json] [--out FILE]",
		Short: "measure this machine against baselines of the same run",
		Long: `bench writes rows through the journal, the PostgreSQL wire and HTTP, reads them
back, and loads them into SQLite, and into PostgreSQL and MariaDB where they are
installed, and looks them up through the index. Each case takes turns with a baseline that does
the same work without what Holdfast adds, so that the ratio holds on any machine;
rates are medians of the rounds, latencies those of one row, batch or COPY.
It makes a directory of its own in --dir and removes it at the end: use a
directory on the disk that you want to know about. Nothing else is touched.

Cases:
  ` + strings.Join(bench.Names(), "\n  ") + `

Those that begin with postgres/ need --postgres. They and load/postgres need a
PostgreSQL that is installed, load/mariadb a MariaDB; servers of their own are
started there, and removed.`,
		Example: "  holdfast bench --dir /var/lib/holdfast\n  holdfast bench --only '^load/' --rounds 5\n  holdfast bench --out bench.md",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return runBench(env, &f) },
	}
	cmd.AddCommand(newBenchServer(env))
	cmd.Flags().StringVar(&f.options.Dir, "dir", ".", "`directory` on the disk to measure")
	cmd.Flags().StringVar(&f.only, "only", "", "only cases whose name matches this `regexp`")
	cmd.Flags().IntVar(&f.options.Rows, "rows", 0, "rows of each run; 0: as many as the time allows")
	cmd.Flags().IntVar(&f.options.Rounds, "rounds", 3, "how often Holdfast and the baseline take turns")
	cmd.Flags().IntVar(&f.stored, "stored", 0, "rows that look-ups are made in, in `MiB`; 0: eight segments")
	cmd.Flags().BoolVar(&f.options.Postgres, "postgres", false, "compare with PostgreSQL too, where it is installed")
	cmd.Flags().BoolVar(&f.quick, "quick", false, "a rough answer in about 25 seconds")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "one JSON object per case")
	cmd.Flags().StringVar(&f.out, "out", "", "write a report in Markdown to this `file` as well")
	return cmd
}

// The most that --rows and --rounds take, so that a slip of the keyboard does
// not fill the disk.
const (
	maxBenchRows   = 100_000_000
	maxBenchRounds = 1000
	maxBenchStored = 1 << 20 // MiB
)

// settle checks the flags.
func (f *benchFlags) settle() (err error) {
	o := &f.options
	switch {
	case o.Rows < 0 || o.Rows > maxBenchRows:
		return usage(fmt.Sprintf("from 0 to %d", maxBenchRows), "--rows \"%d\" is out of range", o.Rows)
	case f.stored < 0 || f.stored > maxBenchStored:
		return usage(fmt.Sprintf("from 0 to %d", maxBenchStored), "--stored \"%d\" is out of range", f.stored)
	case o.Rounds < 1 || o.Rounds > maxBenchRounds:
		return usage(fmt.Sprintf("from 1 to %d", maxBenchRounds), "--rounds \"%d\" is out of range", o.Rounds)
	}
	if f.only != "" {
		if o.Only, err = regexp.Compile(f.only); err != nil {
			return usage("see holdfast bench --help for the names of the cases", "--only %q cannot be read: %w", f.only, err)
		}
	}
	o.Stored = int64(f.stored) << 20
	o.Time = benchTime
	if f.quick {
		o.Time, o.Segment = benchQuick, quickSegment
	}
	return nil
}

func runBench(env *Env, f *benchFlags) error {
	if err := f.settle(); err != nil {
		return err
	}
	var out *os.File // opened before the minutes of work, not after them
	if f.out != "" {
		var err error
		if out, err = os.Create(f.out); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
		defer out.Close()
	}
	r, err := f.measure(env)
	if errors.Is(err, bench.ErrNoCase) {
		err = usage("see holdfast bench --help for the names of the cases", "no case matches %q", f.only)
	}
	if errors.Is(err, env.Context.Err()) && err != nil {
		return errors.New("the bench was interrupted; its directory is removed")
	}
	if err != nil {
		return err
	}
	commit := bench.Commit()
	fmt.Fprintf(env.Stderr, "%s, file system %s, %s, commit %s\n", plural(r.Machine.CPUs, "CPU"), r.Machine.FileSystem, r.Machine.Go, commit)
	for _, n := range r.Notes {
		fmt.Fprintf(env.Stderr, "note: %s\n", oneLine(n))
	}
	if out == nil {
		return nil
	}
	if err := errors.Join(r.Markdown(out, f.command(), commit), out.Close()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// measure runs the bench and prints each case as it is done.
func (f *benchFlags) measure(env *Env) (bench.Report, error) {
	var bar *progress
	f.options.Started = func(name string) {
		bar = startProgress(env, func() string { return "measuring " + name })
	}
	headed := f.asJSON
	f.options.Done = func(r bench.Result) error {
		bar.stop()
		bar = nil
		if f.asJSON {
			return json.NewEncoder(env.Stdout).Encode(r)
		}
		line := r.Line()
		if !headed {
			line, headed = bench.Header()+line, true
		}
		_, err := fmt.Fprint(env.Stdout, line)
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return bench.Report{}, fmt.Errorf("find this program: %w", err)
	}
	f.options.Self = []string{self, "bench", "server"}
	r, err := bench.Run(env.Context, f.options)
	bar.stop()
	return r, err
}

// command returns the command that gives such a report, without what only
// says where things are written.
func (f *benchFlags) command() string {
	c := "holdfast bench"
	if f.quick {
		c += " --quick"
	}
	if f.only != "" {
		c += fmt.Sprintf(" --only '%s'", f.only)
	}
	if f.options.Rows > 0 {
		c += fmt.Sprint(" --rows ", f.options.Rows)
	}
	if f.stored > 0 {
		c += fmt.Sprint(" --stored ", f.stored)
	}
	c += fmt.Sprint(" --rounds ", f.options.Rounds)
	if f.options.Postgres {
		c += " --postgres"
	}
	return c
}
