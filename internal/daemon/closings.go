package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/archive"
	"holdfast/archive/backup"
	"holdfast/archive/closing"
	"holdfast/archive/dialect"
	"holdfast/internal/config"
	"holdfast/internal/disk"
	"holdfast/internal/httpapi"
)

// closings is the goroutine that closes families, by schedule and by size: one
// at a time. When a family was last tried is kept in a file, so that a time
// which passed while no server ran is made up for, once. What fails because the
// database cannot be reached is tried again; what a rule refuses waits for the
// next time.
type closings struct {
	data  string
	log   *slog.Logger
	stop  context.CancelFunc
	ended chan struct{}

	mu       sync.Mutex
	families []*family
}

// family is one that is closed. Its fields are the goroutine's own, status
// excepted, which closings.mu guards.
type family struct {
	c        *config.Family
	jobs     []config.Closing
	next     time.Time // by schedule; zero: never
	noBackup bool      // what is due next wants none
	look     time.Time // at sizes; zero: never
	status   httpapi.FamilyStatus
}

// closingsFile holds when each family was last tried.
const closingsFile = "closings.json"

// maxClosings bounds that file.
const maxClosings = 1 << 20

// retryClosing is how long a closing that failed waits.
const retryClosing = 5 * time.Minute

// startClosings starts it, where there is anything to close; else it returns
// nil, on which all methods work.
func (s *server) startClosings() *closings {
	a := &closings{data: s.cfg.Data, log: s.log, ended: make(chan struct{})}
	now := time.Now()
	tried := a.tried()
	for _, name := range s.cfg.FamilyNames() {
		f := &family{c: s.cfg.Families[name], jobs: s.cfg.Closings(name), status: httpapi.FamilyStatus{Name: name, State: "waiting"}}
		if len(f.jobs) == 0 && !f.c.Sized() {
			continue
		}
		if f.c.Sized() {
			f.look = now
		}
		f.status.Tried = tried[name]
		from := tried[name]
		if from.IsZero() || from.After(now) {
			from = now
			tried[name] = now
		}
		f.plan(from)
		a.families = append(a.families, f)
	}
	if len(a.families) == 0 {
		return nil
	}
	a.keep(tried)
	ctx, cancel := context.WithCancel(context.Background())
	a.stop = cancel
	go a.follow(ctx)
	return a
}

// plan finds the next time behind from.
func (f *family) plan(from time.Time) {
	f.next = time.Time{}
	for _, j := range f.jobs {
		if at := j.Cron.Next(from); !at.IsZero() && (f.next.IsZero() || at.Before(f.next)) {
			f.next, f.noBackup = at, j.NoBackup
		}
	}
	f.status.Next = f.next
}

// close ends it. A closing that is under way is interrupted; the next one goes
// on with it.
func (a *closings) close() {
	if a != nil {
		a.stop()
		<-a.ended
	}
}

// follow waits for what is due and does it.
func (a *closings) follow(ctx context.Context) {
	defer close(a.ended)
	for {
		var due *family
		var at time.Time
		for _, f := range a.families {
			for _, t := range []time.Time{f.next, f.look} {
				if !t.IsZero() && (due == nil || t.Before(at)) {
					due, at = f, t
				}
			}
		}
		t := time.NewTimer(time.Until(at))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		a.do(ctx, due)
	}
}

// do closes a family that is due, or looks whether one of its tables is full.
func (a *closings) do(ctx context.Context, f *family) {
	now := time.Now()
	why, noBackup := "schedule", f.noBackup
	if f.next.IsZero() || now.Before(f.next) {
		f.look = now.Add(time.Duration(f.c.Check))
		var err error
		if why, err = a.full(ctx, f); err != nil || why == "" {
			a.looked(ctx, f, err)
			return
		}
		noBackup = false
	}
	a.tell(f, func(s *httpapi.FamilyStatus) { s.State = "closing" })
	result, err := a.run(ctx, f, noBackup)
	if ctx.Err() != nil {
		return // the next server makes up for it
	}
	a.note(f, why, result, err)
	refused := (&closing.Refusal{})
	switch failed := err != nil && !errors.As(err, &refused); {
	case failed && why == "schedule":
		a.tell(f, func(s *httpapi.FamilyStatus) {
			f.next = time.Now().Add(retryClosing)
			s.Next = f.next
		})
	case why == "schedule":
		tried := a.tried()
		tried[f.status.Name] = time.Now()
		a.keep(tried)
		a.tell(f, func(*httpapi.FamilyStatus) { f.plan(time.Now()) })
	}
}

// full asks whether a table is full.
func (a *closings) full(ctx context.Context, f *family) (why string, err error) {
	err = f.with(ctx, func(s *dialect.Session, of *archive.Family) error {
		why, err = closing.Reached(ctx, s, of, closing.Limits{Rows: int64(f.c.MaxRows), Bytes: int64(f.c.MaxBytes)})
		return err
	})
	return why, err
}

// looked notes that tables were measured, or could not be.
func (a *closings) looked(ctx context.Context, f *family, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil:
		a.note(f, "size", nil, err)
	default:
		a.tell(f, func(s *httpapi.FamilyStatus) {
			if s.State == "failing" {
				s.State, s.LastError = "waiting", ""
			}
		})
	}
}

// with opens the family's database.
func (f *family) with(ctx context.Context, do func(s *dialect.Session, of *archive.Family) error) error {
	of, err := archive.Load(f.c.Profile)
	if err != nil {
		return err
	}
	of.Late = cmp.Or(f.c.Late, of.Late)
	of.Archives = of.Archives.Over(f.c.Archives.Form())
	url := string(f.c.URL)
	if f.c.URLFile != "" {
		text, err := os.ReadFile(f.c.URLFile)
		if err != nil {
			return err
		}
		url = strings.TrimSpace(string(text))
	}
	s, err := dialect.Open(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(do(s, of), s.Close())
}

// run closes a period. Where an earlier run was interrupted, that is finished
// first, and then the time since is closed.
func (a *closings) run(ctx context.Context, f *family, noBackup bool) (result *closing.Result, err error) {
	proof := f.c.Backup.Proof()
	if noBackup || f.c.NoBackup {
		proof = backup.Proof{None: true}
	}
	if err := proof.Check(ctx); err != nil {
		return nil, err
	}
	err = f.with(ctx, func(s *dialect.Session, of *archive.Family) error {
		if result, err = closing.Run(ctx, s, of, closing.Options{}); err == nil && result.Resumed {
			result, err = closing.Run(ctx, s, of, closing.Options{})
		}
		return err
	})
	return result, err
}

// note tells the log and the status what became of a closing.
func (a *closings) note(f *family, why string, result *closing.Result, err error) {
	refused := (&closing.Refusal{})
	again := err != nil && f.status.LastError == err.Error() // what stands there is not told again and again
	name := f.status.Name
	switch {
	case err == nil:
		rows := int64(0)
		for _, h := range result.Tables {
			rows += h.Filed
		}
		a.log.Info("archived", "family", name, "why", why, "archive", result.Archive, "window", result.Window.String(), "rows", rows, "locked", result.Held.String())
		for _, why := range result.Unformed {
			a.log.Warn("an archive is not stored as it should be", "family", name, "error", why)
		}
	case errors.As(err, &refused) && !again:
		a.log.Warn("a closing was refused", "family", name, "why", why, "error", err)
	case !again:
		a.log.Error("a closing failed", "family", name, "why", why, "error", err)
	}
	a.tell(f, func(s *httpapi.FamilyStatus) {
		s.Tried, s.LastError = time.Now(), ""
		switch {
		case err == nil:
			s.State, s.Closed, s.Archive, s.Until = "waiting", s.Tried, result.Archive, time.Unix(result.Window.End, 0)
			s.Closings++
		case errors.As(err, &refused):
			s.State, s.LastError = "refused", err.Error()
			s.Refusals++
		default:
			s.State, s.LastError = "failing", err.Error()
			s.Failures++
		}
	})
}

func (a *closings) tell(f *family, change func(s *httpapi.FamilyStatus)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&f.status)
}

// status tells of all families that are closed.
func (a *closings) status() (all []httpapi.FamilyStatus) {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.families {
		all = append(all, f.status)
	}
	return all
}

// tried reads when each family was last tried. A file that cannot be read
// counts for none: the worst is a closing that is not made up for.
func (a *closings) tried() map[string]time.Time {
	all := map[string]time.Time{}
	d, err := disk.OpenBuffered(a.data)
	if err != nil {
		return all
	}
	defer d.Close()
	text, err := disk.ReadFile(d, closingsFile, maxClosings)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		a.log.Warn("it is not known when families were last closed", "file", closingsFile, "error", err)
		return map[string]time.Time{}
	}
	return all
}

// keep writes it.
func (a *closings) keep(tried map[string]time.Time) {
	text, err := json.Marshal(tried)
	if err == nil {
		var d *disk.Real
		if d, err = disk.OpenBuffered(a.data); err == nil {
			err = errors.Join(disk.Replace(d, ".", closingsFile, append(text, '\n')), d.Close())
		}
	}
	if err != nil {
		a.log.Warn("note when families were closed", "file", closingsFile, "error", err)
	}
}

var (
	perFamily = []string{"family"}

	descClosings = desc("archive_closings_total", "Periods closed by schedule or by size since the start.", perFamily)
	descRefusals = desc("archive_refusals_total", "Closings that a rule stood against since the start.", perFamily)
	descFailures = desc("archive_failures_total", "Closings that failed since the start; they are tried again.", perFamily)
	descClosed   = desc("archive_closed_timestamp_seconds", "When a period was last closed; 0 where none was since the start.", perFamily)
)

// Describe sends nothing: the families are known when asked.
func (*closings) Describe(chan<- *prometheus.Desc) {}

// Collect sends what each family's status says.
func (a *closings) Collect(out chan<- prometheus.Metric) {
	for _, s := range a.status() {
		send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64) {
			out <- prometheus.MustNewConstMetric(d, kind, v, s.Name)
		}
		send(descClosings, prometheus.CounterValue, float64(s.Closings))
		send(descRefusals, prometheus.CounterValue, float64(s.Refusals))
		send(descFailures, prometheus.CounterValue, float64(s.Failures))
		closed := 0.0
		if !s.Closed.IsZero() {
			closed = float64(s.Closed.Unix())
		}
		send(descClosed, prometheus.GaugeValue, closed)
	}
}
