-- Rules of our own for mail from authenticated accounts.

local LIMIT_HEADER = 'X-Sensmail-Send-Limit'

-- user+detail@domain and user@domain are one sender.
local function plain(address)
  return (address:lower():gsub('%+[^@]*@', '@'))
end

-- The From header is what people see. Postfix has made sure that the envelope sender belongs to the account, so both
-- must agree; where the envelope is empty (receipts), the header must name the account itself.
rspamd_config:register_symbol {
  name = 'SENSMAIL_FOREIGN_FROM',
  type = 'prefilter',
  priority = 9,
  callback = function(task)
    local user = task:get_user()
    if not user then
      return
    end
    local envelope = task:get_from('smtp')
    local sender = envelope and envelope[1] and envelope[1].addr or ''
    if sender == '' then
      sender = user
    end
    local from = task:get_from('mime')
    if not from or #from ~= 1 or plain(from[1].addr) ~= plain(sender) then
      task:set_pre_result('reject', 'The From header must name the sender and nobody else', 'sensmail')
    end
  end,
}

-- The header that carries the send limit from Postfix to the rate limit stays inside.
rspamd_config:register_symbol {
  name = 'SENSMAIL_HIDE_LIMIT',
  type = 'idempotent',
  flags = 'explicit_disable,ignore_passthrough',
  callback = function(task)
    if task:get_header(LIMIT_HEADER) then
      task:set_milter_reply { remove_headers = { [LIMIT_HEADER] = 0 } }
    end
  end,
}
