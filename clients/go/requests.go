package freshet

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// More dependencies than this don't fit a header: they are sent as a batch.
const mostDepends = 64

func (c *Client) get(
	ctx context.Context,
	cache string,
	key Key,
	wait time.Duration,
	minPosition string,
	noCache bool,
	accept string,
) Answer {
	path, ok := key.path(cache)
	if !ok {
		return Answer{Status: Refused, Detail: "key-syntax"}
	}
	headers := map[string]string{}
	if wait > 0 {
		headers["Prefer"] = "wait=" + strconv.FormatFloat(wait.Seconds(), 'f', -1, 64)
	}
	if minPosition != "" {
		headers["Freshet-Min-Position"] = minPosition
	}
	if noCache {
		headers["Cache-Control"] = "no-cache"
	}
	if accept != "" {
		headers["Accept"] = accept
	}
	response, why := c.exchange.do(ctx, request{method: "GET", path: path, headers: headers, wait: wait})
	answer := Answer{Status: Unavailable, Detail: why}
	switch why {
	case "":
		answer = response.answer()
	case "header":
		answer.Status = Refused
	}
	if (answer.Status == Unavailable || answer.Status == Refused) && answer.Detail != "paused" {
		c.tell(cache, answer.Detail)
	}
	return answer
}

func (c *Client) store(
	ctx context.Context,
	cache string,
	key Key,
	lease string,
	value any,
	absent bool,
	codec Codec,
	fill Fill,
) string {
	path, ok := key.path(cache)
	if !ok {
		return "key-syntax"
	}
	item := batchItem{Lease: lease, Absent: absent, fill: fill}
	if !absent {
		item.Type = codec.ContentType()
		var err error
		if item.Bytes, err = codec.Encode(value); err != nil {
			c.tell(cache, "unencodable")
			return "unencodable"
		}
	}
	request := item.put(path)
	if len(fill.Depends) > mostDepends {
		request = item.batch(path)
	}
	response, why := c.exchange.do(ctx, request)
	outcome := why
	switch why {
	case "":
		outcome = response.change("stored")
	case "header":
	default:
		return "unavailable"
	}
	if outcome != "stored" && outcome != "fenced" {
		c.tell(cache, outcome)
	}
	return outcome
}

// batchItem is a fill, as a batch has it.
type batchItem struct {
	Key      string   `json:"key"`
	Lease    string   `json:"lease"`
	Absent   bool     `json:"absent,omitempty"`
	Type     string   `json:"type,omitempty"`
	Bytes    []byte   `json:"base64,omitempty"`
	Depends  []string `json:"depends"`
	Position string   `json:"position,omitempty"`
	MaxAge   int64    `json:"maxAge,omitempty"`
	fill     Fill
}

func (i batchItem) put(path string) request {
	headers := map[string]string{"Freshet-Lease": i.Lease}
	if i.Absent {
		headers["Freshet-Absent"] = "?1"
	} else {
		headers["Content-Type"] = i.Type
	}
	if len(i.fill.Depends) > 0 {
		headers["Freshet-Depends"] = strings.Join(i.fill.Depends, ", ")
	}
	if i.fill.Position != "" {
		headers["Freshet-Position"] = i.fill.Position
	}
	if i.fill.MaxAge > 0 {
		headers["Cache-Control"] = "max-age=" + strconv.FormatInt(int64(i.fill.MaxAge/time.Second), 10)
	}
	return request{method: "PUT", path: path, headers: headers, body: i.Bytes}
}

func (i batchItem) batch(path string) request {
	parts := strings.SplitN(path, "/", 4)
	i.Key, i.Depends, i.Position = parts[3], i.fill.Depends, i.fill.Position
	i.MaxAge = int64(i.fill.MaxAge / time.Second)
	// Texts and numbers are always JSON.
	body, _ := json.Marshal(map[string][]batchItem{"put": {i}})
	headers := map[string]string{"Content-Type": "application/json"}
	return request{method: "POST", path: "/v1/" + parts[2] + "/_batch", headers: headers, body: body, pausable: true}
}
