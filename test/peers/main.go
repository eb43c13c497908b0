// Command peers measures Holdfast's append path side by side with that of
// other Go journals and stores, in one run, on one disk.
//
// It is a module of its own, so that Holdfast itself depends on none of them.
// README.md says what is measured, how, and who is durable.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// settings are what the command line says.
type settings struct {
	dir    string
	out    string
	quick  bool
	seed   uint64
	only   string
	works  string
	rounds int
	turn   time.Duration
	cold   int64
	trace  bool
	one    string
	work   int
}

func main() {
	var s settings
	flag.StringVar(&s.dir, "dir", "", "directory on the disk to be measured; empty: the current one; removed at the end is only what is made in it")
	flag.StringVar(&s.out, "out", "", "write the report to this name with .md and .json behind it, too")
	flag.BoolVar(&s.quick, "quick", false, "about 40 s instead of 8 min: fewer and shorter rounds, 256 MiB read back instead of 1 GiB")
	flag.Uint64Var(&s.seed, "seed", 0, "seed of the order of turns; 0: drawn")
	flag.StringVar(&s.only, "only", "", "regular expression; only peers whose names match, besides the bare file and Holdfast")
	flag.StringVar(&s.works, "works", "", "regular expression; only works whose names match, as \"256\" or \"batches\"; \"^$\" leaves the reading back")
	flag.IntVar(&s.rounds, "rounds", 0, "rounds of each work; 0: 7, or 3 with -quick")
	flag.DurationVar(&s.turn, "turn", 0, "how long a turn takes; 0: 400ms, or 60ms with -quick")
	flag.Int64Var(&s.cold, "cold", -1, "bytes to read back cold; 0: none; -1: 1 GiB, or 256 MiB with -quick")
	flag.BoolVar(&s.trace, "flushes", false, "measure nothing, count each contender's flushes with strace")
	flag.StringVar(&s.one, "one", "", "append a few records to the contender of that name only; this is what -flushes traces")
	flag.IntVar(&s.work, "work", 0, "with -one: 0 for single records, 1 for batches")
	flag.Parse()
	if err := run(s.withDefaults()); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func (s settings) withDefaults() settings {
	rounds, turn, bytes := 7, 400*time.Millisecond, int64(1<<30)
	if s.quick {
		rounds, turn, bytes = 3, 60*time.Millisecond, 256<<20
	}
	if s.rounds <= 0 {
		s.rounds = rounds
	}
	if s.turn <= 0 {
		s.turn = turn
	}
	if s.cold < 0 {
		s.cold = bytes
	}
	for s.seed == 0 {
		s.seed = rand.Uint64()
	}
	if s.dir == "" {
		s.dir = "."
	}
	return s
}

func run(s settings) (err error) {
	only, err := regexp.Compile(s.only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if err := onDisk(s.dir); err != nil {
		return fmt.Errorf("-dir: %w", err)
	}
	dir, err := newDir(s.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		_ = os.RemoveAll(dir) // what is still being written fails now; we end
		os.Exit(1)
	}()
	var all []contender
	for _, c := range contenders() {
		if c.product || c.name == nameBare || only.MatchString(c.id()) {
			all = append(all, c)
		}
		if c.id() == s.one {
			return appendTraced(dir, c, s.work)
		}
	}
	if s.one != "" {
		return fmt.Errorf("-one: there is no contender %q", s.one)
	}
	if s.trace {
		return watch(os.Stdout, dir, all)
	}
	return s.measure(dir, all)
}

func (s settings) measure(dir string, all []contender) error {
	say := func(format string, a ...any) { fmt.Fprintf(os.Stderr, "peers: "+format+"\n", a...) }
	say("seed %d, in %s", s.seed, dir)
	pick, err := regexp.Compile(s.works)
	if err != nil {
		return fmt.Errorf("-works: %w", err)
	}
	these := slices.DeleteFunc(slices.Clone(works), func(w work) bool { return !pick.MatchString(w.name) })
	b := &bench{dir: dir, all: all, works: these, rounds: s.rounds, time: s.turn, random: rand.New(rand.NewPCG(s.seed, 0)), say: say}
	r := &report{
		Machine: fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		Seed:    s.seed, Rounds: s.rounds, Turn: s.turn.Seconds(), Lines: linesOf(b.run()),
	}
	if s.cold > 0 {
		c, err := readCold(dir, s.cold, s.rounds)
		if err != nil {
			return fmt.Errorf("read back cold: %w", err)
		}
		r.Cold = c
	}
	r.markdown(os.Stdout)
	if s.out != "" {
		if err := r.write(s.out); err != nil {
			return err
		}
	}
	if r.failed() {
		return errors.New("a contender failed, see above")
	}
	return nil
}
