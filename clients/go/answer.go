package freshet

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Status is where a value came from, or why it didn't come from the cache.
type Status string

const (
	// Hit: the cache answered.
	Hit Status = "hit"
	// Miss: nothing is cached.
	Miss Status = "miss"
	// Stale: the sidecar can't vouch for its values now.
	Stale Status = "stale"
	// Unavailable: the sidecar couldn't be asked.
	Unavailable Status = "unavailable"
	// Refused: the request was a mistake; Detail names the problem.
	Refused Status = "refused"
)

// Answer is what the cache said, for logs and metrics.
type Answer struct {
	Status Status
	// Detail is why, as Cache-Status has it; of Unavailable "connect", "timeout", "closed", "garbled", "paused",
	// "canceled" or a problem; of Refused the problem.
	Detail string
	// Found: the cache answered, with a value or with the knowledge that there is no such row.
	Found bool
	// Bytes are the cached value's; nil where it is known that there is no such row.
	Bytes []byte
	// ContentType is the cached value's.
	ContentType string
	// TTL is what the cached value has left, negative if it is served stale; Age is since when it is stored. Both are
	// known where Found is.
	TTL, Age time.Duration
	// Position is how far of the database's log the cached value reflects at least: the next read's MinPosition.
	Position string
	// Lease is, on a miss, what a value read from now on is put with; Fill who is to load: "you" or "other".
	Lease, Fill string
	// Stored is what became of the loaded value: "stored", "fenced" (a change came in between), "unavailable",
	// "unencodable" or a problem; empty if it wasn't sent.
	Stored string
}

type response struct {
	status int
	header http.Header
	body   []byte
}

// answer reads what a GET was answered.
func (r response) answer() Answer {
	status, ours := cacheStatus(r.header.Get("Cache-Status"))
	if !ours || (r.status != http.StatusOK && r.status != http.StatusNotFound) {
		problem := r.problem()
		switch {
		case problem == "":
			return Answer{Status: Unavailable, Detail: "garbled"}
		case r.status >= 500:
			return Answer{Status: Unavailable, Detail: problem}
		}
		return Answer{Status: Refused, Detail: problem}
	}
	_, hit := status["hit"]
	answer := Answer{
		Status:      Miss,
		Detail:      status["detail"],
		Found:       hit || r.status == http.StatusOK,
		ContentType: r.header.Get("Content-Type"),
		TTL:         seconds(status["ttl"]),
		Age:         seconds(r.header.Get("Age")),
		Position:    r.header.Get("Freshet-Position"),
		Lease:       r.header.Get("Freshet-Lease"),
		Fill:        r.header.Get("Freshet-Fill"),
	}
	if hit {
		answer.Status = Hit
	} else if status["fwd"] == "stale" {
		answer.Status = Stale
	}
	if r.status == http.StatusOK {
		answer.Bytes = r.body
	}
	return answer
}

// change is what became of a PUT or DELETE, or of the one fill of a batch.
func (r response) change(done string) string {
	if r.status == http.StatusNoContent {
		return done
	}
	var batch struct {
		Put []struct {
			Status  int
			Problem problem
		}
	}
	if r.status == http.StatusOK && json.Unmarshal(r.body, &batch) == nil && len(batch.Put) == 1 {
		if batch.Put[0].Status == http.StatusNoContent {
			return done
		}
		return batch.Put[0].Problem.word()
	}
	if problem := r.problem(); problem != "" {
		return problem
	}
	return "http-" + strconv.Itoa(r.status)
}

// problem is the last word of a problem's type, if it is a problem.
func (r response) problem() string {
	var problem problem
	if !strings.HasPrefix(r.header.Get("Content-Type"), "application/problem+json") ||
		json.Unmarshal(r.body, &problem) != nil {
		return ""
	}
	return problem.word()
}

type problem struct{ Type string }

func (p problem) word() string { return p.Type[strings.LastIndexByte(p.Type, '/')+1:] }

// cacheStatus is the parameters of our member of a Cache-Status (RFC 9211).
func cacheStatus(text string) (map[string]string, bool) {
	for _, member := range strings.Split(text, ",") {
		name, rest, _ := strings.Cut(member, ";")
		if strings.TrimSpace(name) != "freshet" {
			continue
		}
		parameters := map[string]string{}
		for _, parameter := range strings.Split(rest, ";") {
			key, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			parameters[key] = strings.Trim(value, `"`)
		}
		return parameters, true
	}
	return nil, false
}

func seconds(text string) time.Duration {
	number, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return time.Duration(number) * time.Second
}
