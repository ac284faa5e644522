{"level":"warn","time":"2026-11-24T02:39:27.527Z","msg":"API server is DOWN","cluster":"default","upstream":"localhost:8080","was":"SUSPECT","reason":"connection refused"}
{"level":"info","time":"2026-11-24T02:39:27.668Z","msg":"shutting down: requests in flight may finish, a second signal cuts them off","signal":"terminated","grace":"10s"}
