-- Which executions were given code: the pickled arguments of a call, or the digest that a placeholder names. It can be
-- run again with it, so it stays as long as the execution. Only inputs that are small and name such a key are looked at.

create index executions_by_code on interlock.executions using gin (interlock.digests_in(input))
  where octet_length(input::text) < 2000 and (input::text like '%"args"%' or input::text like '%"code"%');
