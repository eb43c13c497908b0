package doctor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"holdfast/internal/certs"
	"holdfast/internal/config"
	"holdfast/internal/httpapi"
)

// How long before it expires a certificate should have a successor.
const (
	renewSoon = 21 * 24 * time.Hour
	renewNow  = 3 * 24 * time.Hour
)

// lock looks who has the data directory, without taking it from anybody.
func (x *exam) lock() {
	if x.in.Config == nil {
		return
	}
	file := filepath.Join(x.in.Config.Data, "LOCK")
	if _, err := os.Stat(file); err != nil {
		return
	}
	x.checked("lock")
	x.pid, x.held = holder(text(x.host.proc("locks")), file)
	switch {
	case x.held && x.in.Status == nil:
		saw := "held, and no server answers"
		if x.pid != 0 {
			saw = fmt.Sprintf("held by process %d, and no server answers", x.pid)
		}
		x.add(Finding{Critical, "lock", file, saw, "a server is starting, is stuck, or its socket was removed; no other can start", "look at that process and its log, and look again in a minute; end it where it stays",
			[]string{"fuser -v " + quote(file), "journalctl -u holdfast -n 50"}})
	case !x.held && x.in.Status == nil:
		x.add(Finding{Note, "lock", file, "left behind, held by nobody", "harmless: the next start takes it", "", nil})
	}
}

// server looks at what the server says of itself, or at what keeps one from
// starting.
func (x *exam) server() {
	if x.in.Config == nil {
		return
	}
	x.jumps()
	x.certificate()
	if x.in.Status == nil {
		if !x.held {
			x.ports()
		}
		return
	}
	x.checked("streams", "sinks", "sources", "rejects", "warnings")
	for _, s := range x.in.Status.Streams {
		x.streamState(&s)
	}
	for _, k := range x.in.Status.Sinks {
		x.sinkState(&k)
	}
	for _, k := range x.in.Status.Sources {
		x.sourceState(&k)
	}
	for _, w := range x.in.Status.Warnings {
		x.add(Finding{Warning, "warnings", "the server", w, "it says so itself", "see holdfast status", nil})
	}
}

func (x *exam) streamState(s *httpapi.StreamStatus) {
	found := func(sev Severity, saw, means, do string, commands ...string) {
		x.add(Finding{sev, "streams", "stream " + s.Name, saw, means, do, commands})
	}
	data := " --data " + quote(x.in.Config.Data)
	switch s.State {
	case "full":
		found(Critical, "full: "+s.Error, "writers are refused", "bring the sink back, make room, or raise the budget in hot and kill -HUP", "holdfast status"+data)
	case "failing":
		found(Critical, "failing: "+s.Error, "the disk does not take rows, or a flush went wrong", "look at the disk before anything else, then restart the server", "dmesg | tail -50")
	}
	if n := len(s.Damage); n > 0 {
		found(Critical, fmt.Sprintf("%d damaged places", n), "bytes on the disk are not what was written; sinks stop in front of rows that are lost", "look at the disk; then see what repair would do", "holdfast verify"+data, "holdfast repair"+data)
	}
	if s.GapRows > 0 {
		found(Note, fmt.Sprintf("%d rows given up by repair", s.GapRows), "sinks pass over them", "")
	}
}

func (x *exam) sinkState(k *httpapi.SinkStatus) {
	saw := k.State
	if k.LastError != "" {
		saw += ": " + k.LastError
	}
	saw += fmt.Sprintf(" (%d rows behind, %s)", k.LagRows, time.Duration(k.LagSeconds*1e9).Round(time.Second))
	found := func(sev Severity, check, saw, means, do string) {
		x.add(Finding{sev, check, "sink " + k.Name, saw, means, do, []string{"holdfast sink list --data " + quote(x.in.Config.Data)}})
	}
	switch k.State {
	case "halted":
		found(Critical, "sinks", saw, "nothing is delivered before somebody looked", or(k.Do, "see docs/operations.md, a sink is halted"))
	case "waiting", "connecting":
		if k.LagRows > 0 && k.LagSeconds > 60 {
			found(Warning, "sinks", saw, "it cannot be reached, or is busy; rows are kept meanwhile", or(k.Do, "start the database, or end what blocks it; delivery goes on by itself"))
		}
	case "paused":
		found(Warning, "sinks", saw, "an operator paused it; its rows are kept until there is no room", "holdfast sink resume "+k.Name)
	case "detached":
		found(Warning, "sinks", saw, "its rows are kept, and nothing delivers them: the configuration does not name it", "name it in the configuration, or end it: holdfast sink retire "+k.Name)
	}
	budget := 0
	if s := x.in.Config.Sinks[k.Name]; s != nil {
		budget = s.RejectBudget
	}
	if k.RejectsOpen > 0 {
		saw := fmt.Sprintf("%d rejects are open, of %d that it may have", k.RejectsOpen, budget)
		if budget > 0 && k.RejectsOpen*2 >= budget {
			found(Warning, "rejects", saw, "when the budget is used up the sink stops", "mend what refuses them, then holdfast rejects retry --sink "+k.Name)
		} else {
			found(Note, "rejects", saw, "rows that the database refused wait for you", "holdfast rejects list --sink "+k.Name)
		}
	}
}

func (x *exam) sourceState(k *httpapi.SourceStatus) {
	found := func(sev Severity, saw, means, do string) {
		x.add(Finding{sev, "sources", "source " + k.Name, saw, means, do, []string{"holdfast status --data " + quote(x.in.Config.Data)}})
	}
	switch {
	case k.State == "held":
		found(Critical, "held: "+or(k.LastError, strings.Join(k.Notes, "; ")), "something is not read before somebody looked", "read what it says of it")
	case k.State == "waiting" && k.PendingSeconds > 60:
		found(Warning, "waiting: "+k.LastError, fmt.Sprintf("%s wait there to be stored", config.Size(k.PendingBytes).Short()), "mend what it says; it tries again by itself")
	case len(k.Notes) > 0:
		found(Warning, strings.Join(k.Notes, "; "), "it says so itself", "look at those files")
	}
}

// certificate tells when the doors' certificate needs a successor.
func (x *exam) certificate() {
	tls := x.in.Config.TLS
	if !tls.On() {
		return
	}
	m, err := certs.Load(tls.Files())
	if err != nil {
		return // the check of the configuration says why
	}
	x.checked("certificate")
	left := m.Expires().Sub(x.now)
	f := Finding{Warning, "certificate", tls.Cert, "expires " + m.Expires().UTC().Format(time.RFC3339), "from then on clients that check it do not connect", "put the next one in its place; the server takes it over by itself",
		[]string{"openssl x509 -noout -subject -enddate -in " + quote(tls.Cert)}}
	switch {
	case left <= renewNow:
		f.Severity = Critical
		x.add(f)
	case left <= renewSoon:
		x.add(f)
	}
}

// ports sees whether the addresses are free, while no server of this data
// directory has them.
func (x *exam) ports() {
	for key, address := range map[string]config.Address{"pg": x.in.Config.Listen.PG, "http": x.in.Config.Listen.HTTP, "mysql": x.in.Config.Listen.MySQL} {
		_, port, err := net.SplitHostPort(string(address))
		if err != nil || port == "0" {
			continue
		}
		x.checked("ports")
		l, err := (&net.ListenConfig{}).Listen(x.ctx, "tcp", string(address))
		if err == nil {
			l.Close()
			continue
		}
		f := Finding{Warning, "ports", string(address), err.Error(), "the server does not start: " + key + " cannot listen there", "end who has it, or choose another address in listen", []string{"ss -ltnp 'sport = :" + port + "'"}}
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			f.Saw = "in use"
		case errors.Is(err, syscall.EACCES):
			f.Saw, f.Do = "permission denied", "choose a port above 1023, or give the service AmbientCapabilities=CAP_NET_BIND_SERVICE"
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			f.Saw, f.Do, f.Commands = "not an address of this machine", "choose one that it has", []string{"ip -brief address"}
		}
		x.add(f)
	}
}

// unitFile is where a service of that name is described, its drop-ins behind it.
func (h *Host) unitFile() (all string) {
	for _, dir := range []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		if all = h.etc(filepath.Join(dir, "holdfast.service")); all != "" {
			break
		}
	}
	if all == "" {
		return ""
	}
	for _, dir := range []string{"/usr/lib/systemd/system", "/run/systemd/system", "/etc/systemd/system"} {
		for _, name := range h.glob(filepath.Join(dir, "holdfast.service.d", "*.conf")) {
			all += "\n" + h.etc(name)
		}
	}
	return all
}

// directives reads a unit: of each name the values, in order.
func directives(unit string) map[string][]string {
	all := map[string][]string{}
	for line := range strings.Lines(unit) {
		line = strings.TrimSpace(line)
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ";") {
			all[strings.TrimSpace(name)] = append(all[strings.TrimSpace(name)], strings.TrimSpace(value))
		}
	}
	return all
}
