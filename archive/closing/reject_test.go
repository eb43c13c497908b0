package closing_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/archive"
	"holdfast/archive/closing"
	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/closed"
	"holdfast/sink/mysql"
	"holdfast/sink/postgres"
	"holdfast/sink/sinktest"
	"holdfast/sink/sqlite"
)

// delivery brings rows into a database as Holdfast's own does: batch after
// batch, again where the sink says that it could not, and with what it refuses
// set aside. Some are cut off in the middle and begun anew on another session,
// as after a kill.
type delivery struct {
	*anyBase
	open    func() (sink.Sink, error)
	sink    sink.Sink
	session sink.Session
	id      sink.ID
	at      row.Position
	rejects map[uint64]string
	kept    map[uint64]string // by attempts that were not committed
	again   map[string]int
	number  int
	random  *rand.Rand
}

func (b *anyBase) delivers() *delivery {
	b.Helper()
	d := &delivery{anyBase: b, id: sink.ID{StreamID: "s", Stream: "main", Sink: "billing"}, rejects: map[uint64]string{}, kept: map[uint64]string{}, again: map[string]int{}, random: rand.New(rand.NewSource(1))}
	d.open = b.sinks
	d.attach()
	b.Cleanup(func() { d.sink.Close() })
	return d
}

// sinks opens the sink that delivers into the database.
func (b *anyBase) sinks() (sink.Sink, error) {
	switch b.name {
	case "PostgreSQL":
		return postgres.Open(postgres.Options{URL: b.url})
	case "MariaDB":
		return mysql.Open(mysql.Options{URL: b.url})
	}
	return sqlite.Open(strings.TrimPrefix(b.url, "sqlite:"), sqlite.Options{})
}

func (d *delivery) attach() {
	d.Helper()
	if d.sink != nil {
		d.sink.Close()
	}
	var err error
	if d.sink, err = d.open(); err != nil {
		d.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		d.number++
		if d.session, err = d.sink.Attach(context.Background(), d.id, fmt.Sprint(d.number), row.Position{}, nil); err == nil {
			break
		}
		if time.Now().After(end) {
			d.Error(err)
			return
		}
	}
	c, err := d.session.Cursor(context.Background())
	if err != nil {
		d.Error(err)
	}
	if c.Seq != d.at.Seq { // the commit that was in doubt
		d.at = c.Position
	}
}

var (
	callColumns = &row.Schema{Table: "calls", Columns: []row.Column{{Name: "at"}, {Name: "who"}}}
	keyColumns  = &row.Schema{Table: "calls", Columns: []row.Column{{Name: "id"}, {Name: "at"}, {Name: "who"}}}
	legColumns  = &row.Schema{Table: "legs", Columns: []row.Column{{Name: "call_id"}}}
)

// bring delivers rows, whose seqs follow the cursor.
func (d *delivery) bring(rows []row.Row) {
	d.Helper()
	end := rows[len(rows)-1].Seq
	for limit := time.Now().Add(2 * time.Minute); ; {
		var some []row.Row
		for _, r := range rows {
			if _, kept := d.kept[r.Seq]; r.Seq > d.at.Seq && !kept {
				some = append(some, r)
			}
		}
		if d.at.Seq >= end {
			break
		}
		ctx, cancel := context.WithCancel(context.Background())
		if d.random.Intn(5) == 0 { // cut off somewhere
			time.AfterFunc(time.Duration(d.random.Intn(8000))*time.Microsecond, cancel)
		}
		rejects := &sinktest.Rejects{}
		err := d.session.Apply(ctx, sinktest.NewBatch(some, row.Position{Seq: end, Chain: uint32(end)}), rejects)
		cut := ctx.Err() != nil
		cancel()
		if rejects.Settled { // they are on disk, whatever became of the commit
			for i, r := range rejects.Rows {
				d.kept[r.Seq] = rejects.Why[i].Code + ": " + rejects.Why[i].Err.Error()
			}
		}
		if err == nil {
			d.at = row.Position{Seq: end, Chain: uint32(end)}
			continue
		}
		switch {
		case errors.Is(err, closed.ErrMeanwhile):
			d.again["closed meanwhile"]++
		case cut:
			d.again["cut off"]++
		default:
			d.again["busy"]++
		}
		if time.Now().After(limit) {
			d.Errorf("rows could not be brought: %v", err)
			return
		}
		if cut || errors.Is(err, sink.ErrDoubtful) {
			d.attach()
		}
	}
	for seq, why := range d.kept {
		d.rejects[seq] = why
	}
}

// TestLateRejected closes periods, killed at statements on the way, while rows
// are delivered whose dates lie on both sides of each end, by sessions that are
// cut off too. Each row is in the tables or in the rejects, once, none is in the
// current table that belongs to a closed period, none in the rejects that does
// not, and nothing stands against the next closing.
func TestLateRejected(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		f, err := archive.Parse(strings.NewReader(strings.Replace(looseFamily, "route", "reject", 1)))
		if err != nil {
			b.Fatal(err)
		}
		b.f = f
		d := b.delivers()
		var clock atomic.Int64
		clock.Store(epoch + 20)
		var stop atomic.Bool
		var wg sync.WaitGroup
		dates := map[uint64]int64{}
		wg.Go(func() {
			for seq := uint64(1); !stop.Load() && !b.Failed(); {
				var rows []row.Row
				for range 1 + d.random.Intn(8) {
					at := clock.Load() - int64(d.random.Intn(25)) + 5
					dates[seq] = at
					rows = append(rows, row.Row{Seq: seq, Schema: callColumns, Values: []row.Value{row.Text(fmt.Sprint(at)), row.Text(fmt.Sprintf("seq%d", seq))}})
					seq++
				}
				d.bring(rows)
			}
		})
		kills, periods := 0, 2
		if long() {
			periods = 12
		}
		for p := range periods {
			end := clock.Add(10) - 12
			stride := 17
			if long() {
				stride = 2
			}
			for n := 1 + p; ; n += stride {
				killed, _ := b.killedAt(n, end)
				if !killed {
					break
				}
				kills++
			}
			b.sound()
		}
		stop.Store(true)
		wg.Wait()
		if b.Failed() {
			return
		}
		b.sound()
		b.nothingLeft()
		b.everySeq(d, dates)
		var last int64 = b.number("SELECT max(end_date) FROM archives")
		if len(d.rejects) < 10 || kills < 2 {
			b.Errorf("%d rejects, %d kills: it has shown little", len(d.rejects), kills)
		}
		b.Logf("%d rows, %d of them late; %d kills, attempts again: %v", len(dates), len(d.rejects), kills, d.again)

		// What is refused says where it belongs, a child goes with its parent, and a
		// retry of it is refused too.
		seq := d.at.Seq
		d.rejects, d.kept = map[uint64]string{}, map[uint64]string{}
		d.bring([]row.Row{
			{Seq: seq + 1, Schema: keyColumns, Values: []row.Value{row.Text("800001"), row.Text(fmt.Sprint(last)), row.Text("late")}},
			{Seq: seq + 2, Schema: legColumns, Values: []row.Value{row.Text("800001")}},
			{Seq: seq + 3, Schema: keyColumns, Values: []row.Value{row.Text("800002"), row.Text(fmt.Sprint(last + 1)), row.Text("in time")}},
			{Seq: seq + 4, Schema: legColumns, Values: []row.Value{row.Text("800002")}},
			{Seq: seq + 5, Schema: keyColumns, Values: []row.Value{row.Text("800003"), row.Text("5"), row.Text("long ago")}},
		})
		for at, want := range map[uint64]string{seq + 1: fmt.Sprintf("it belongs to archive %d (", b.number("SELECT max(archive_id) FROM archives")), seq + 2: "its row in calls came late", seq + 5: "the time before archive 1"} {
			if why := d.rejects[at]; !strings.HasPrefix(why, "late: ") || !strings.Contains(why, want) {
				b.Errorf("seq %d: %q, want %q", at, why, want)
			}
		}
		if why := d.rejects[seq+1]; len(d.rejects) != 3 || !strings.Contains(why, ", closed at 20") {
			b.Errorf("rejects: %v", d.rejects)
		}
		rejects := &sinktest.Rejects{}
		again := []row.Row{{Seq: seq + 1, Schema: callColumns, Values: []row.Value{row.Text(fmt.Sprint(last)), row.Text("again")}}}
		if err := d.session.Retry(context.Background(), sinktest.NewBatch(again, row.Position{Seq: seq + 1}), rejects); err != nil || len(rejects.Rows) != 1 {
			b.Errorf("a retry: %v, %d refused", err, len(rejects.Rows))
		}
		b.sound()

		// Without the policy, sinks are told nothing any more.
		f.Late = archive.LateCurrent
		b.must(clock.Load())
		d.rejects, d.kept = map[uint64]string{}, map[uint64]string{}
		d.bring([]row.Row{{Seq: seq + 6, Schema: callColumns, Values: []row.Value{row.Text(fmt.Sprint(last)), row.Text("late")}}})
		if len(d.rejects) != 0 {
			b.Errorf("refused without the policy: %v", d.rejects)
		}
	})
}

// everySeq wants each row that was brought exactly once, in the tables or in the
// rejects.
func (b *anyBase) everySeq(d *delivery, dates map[uint64]int64) {
	b.Helper()
	rows, err := b.db.Query("SELECT who, count(*) FROM calls_all WHERE who LIKE 'seq%' GROUP BY who")
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	found := map[string]int{}
	for rows.Next() {
		var who string
		var n int
		if err := rows.Scan(&who, &n); err != nil {
			b.Fatal(err)
		}
		found[who] = n
	}
	if err := rows.Err(); err != nil {
		b.Fatal(err)
	}
	last := b.number("SELECT max(end_date) FROM archives")
	for seq, at := range dates {
		why, refused := d.rejects[seq]
		if n := found[fmt.Sprintf("seq%d", seq)]; refused && n != 0 || !refused && n != 1 {
			b.Errorf("seq %d, dated %d: %d times in the tables; rejected: %v %s", seq, at, n, refused, why)
		}
		if refused && (at > last || !strings.HasPrefix(why, "late: ")) {
			b.Errorf("seq %d, dated %d, was refused, and what is closed ends at %d: %s", seq, at, last, why)
		}
	}
}

// hooked is a batch that calls something before its second row.
type hooked struct {
	*sinktest.Batch
	rows int
	call func()
}

// Next advances to the next row.
func (h *hooked) Next() bool {
	if h.rows++; h.rows == 2 {
		h.call()
	}
	return h.Batch.Next()
}

// TestLateInBetween closes a period while a transaction of a sink is open that
// brings rows of it. Where the sink had read what is closed, the closing waits
// for its commit, and the rows are archived. Where there was nothing to read yet,
// the closing goes on, and the rows come again, and are refused.
func TestLateInBetween(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		f, err := archive.Parse(strings.NewReader(strings.Replace(looseFamily, "route", "reject", 1)))
		if err != nil {
			b.Fatal(err)
		}
		b.f = f
		d := b.delivers()
		call := func(seq uint64, at int64) row.Row {
			return row.Row{Seq: seq, Schema: callColumns, Values: []row.Value{row.Text(fmt.Sprint(at)), row.Text(fmt.Sprintf("seq%d", seq))}}
		}
		apply := func(first uint64, call func(), rows ...row.Row) (*sinktest.Rejects, error) {
			rejects, end := &sinktest.Rejects{}, first+uint64(len(rows))-1
			return rejects, d.session.Apply(context.Background(), &hooked{sinktest.NewBatch(rows, row.Position{Seq: end}), 0, call}, rejects)
		}
		if b.name != "SQLite" { // there, whoever writes has the file for himself
			rows := []row.Row{call(1, epoch+2), call(2, epoch+3), call(3, epoch+12)}
			if _, err := apply(1, func() { b.must(epoch + 4) }, rows...); !errors.Is(err, closed.ErrMeanwhile) {
				b.Fatalf("rows that became late on their way: %v", err)
			}
			if rejects, err := apply(1, func() {}, rows...); err != nil || len(rejects.Rows) != 2 {
				b.Fatalf("when they come again: %v, %d refused", err, len(rejects.Rows))
			}
		} else if r := b.must(epoch + 4); r.Archive != 1 {
			b.Fatal(r)
		}
		b.sound()
		var wg sync.WaitGroup
		began := make(chan bool)
		before := b.number("SELECT count(*) FROM calls_all")
		c, err := d.session.Cursor(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		rejects, err := apply(c.Seq+1, func() {
			wg.Go(func() {
				s := b.session()
				defer s.Close()
				close(began)
				if r, err := closing.Run(context.Background(), s, b.f, closing.Options{End: epoch + 9}); err != nil || r.Window.End != epoch+9 {
					b.Errorf("got %+v, %v", r, err)
				}
			})
			<-began
			time.Sleep(300 * time.Millisecond) // it comes as far as it can; nothing depends on that
		}, call(c.Seq+1, epoch+6), call(c.Seq+2, epoch+8), call(c.Seq+3, epoch+12))
		if err != nil || len(rejects.Rows) != 0 {
			b.Errorf("rows in time: %v, %d refused", err, len(rejects.Rows))
		}
		wg.Wait()
		b.sound()
		if n := b.number("SELECT count(*) FROM calls_all"); n != before+3 {
			b.Errorf("%d rows, want %d", n, before+3)
		}
		if n := b.number(fmt.Sprintf("SELECT count(*) FROM calls WHERE at <= %d", epoch+9)); n != 0 {
			b.Errorf("%d rows of what is closed are in the current table", n)
		}
	})
}

// TestLateByOthers has somebody insert late rows beside the sinks, and one of
// them just when the archive is listed: it pulls the end back, or is named.
func TestLateByOthers(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		f, err := archive.Parse(strings.NewReader(strings.Replace(looseFamily, "route", "reject", 1)))
		if err != nil {
			b.Fatal(err)
		}
		b.f = f
		came := false
		r, err := b.run(closing.Options{End: epoch + 9, Step: func(name string) error {
			if name == "catalogue" && !came {
				came = true
				b.exec(fmt.Sprintf("INSERT INTO calls (at, who) VALUES (%d, 'direct')", epoch+7))
			}
			return nil
		}})
		if err != nil || r.Window.End != epoch+6 {
			b.Fatalf("got %+v, %v: the end is not pulled back before a row that came late", r, err)
		}
		b.sound()
		b.exec(fmt.Sprintf("INSERT INTO calls (at, who) VALUES (%d, 'direct')", epoch+3))
		if _, err := b.run(closing.Options{End: epoch + 9}); !refuses(err, archive.RuleComplete) || !strings.Contains(err.Error(), "no sink of Holdfast brought them") {
			b.Errorf("a late row is not named: %v", err)
		}
	})
}
